// Package agent has what the Go agents share: requests in, events out. README.md describes both.
package agent

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

type Sasl struct {
	Mechanism, Username, Password string
}

type TLS struct {
	// The certificate to trust, as PEM.
	CA string
}

// Config of the standard library; the certificate in the request is the only one it trusts.
func (t *TLS) Config() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(t.CA))
	return &tls.Config{RootCAs: roots}
}

type Record struct {
	Partition   *int32
	Key         []byte
	Value       []byte
	Headers     [][2]json.RawMessage
	TimestampMs *int64
}

type From struct {
	Named       string
	Offset      *int64
	TimestampMs *int64
}

func (from *From) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		return json.Unmarshal(text, &from.Named)
	}
	type plain From
	return json.Unmarshal(text, (*plain)(from))
}

// Commits are offsets of the topic that a transaction commits.
type Commits struct {
	Group   string
	Offsets map[int32]int64
}

// Request has the fields of all commands.
type Request struct {
	Command, Op, Bootstrap string
	Sasl                   *Sasl
	TLS                    *TLS
	Topic, Group, Codec    string
	Records                []Record
	Acks                   *int16
	Idempotent, MayFail    bool
	KeepsProducer          bool
	BatchBytes             *int32
	Partitions             json.RawMessage
	Partition              int32
	From                   From
	Reset, Protocol        string
	InstanceId             string
	Count                  *int
	TimeoutMs              int64
	SessionTimeoutMs       int64
	Commit                 *bool
	Configs                map[string]string
	At                     json.RawMessage
	Offset                 int64
	Offsets                map[int32]int64
	Isolation, End         string
	TransactionalId        string
	InTransaction          *Commits `json:"commits"`
}

func (request *Request) PartitionList() []int32 {
	var partitions []int32
	_ = json.Unmarshal(request.Partitions, &partitions)
	return partitions
}

func (request *Request) PartitionCount() int32 {
	var count int32
	_ = json.Unmarshal(request.Partitions, &count)
	return count
}

// CountOr gives how many records are to be read; without a count there is no end.
func (request *Request) CountOr(all int) int {
	if request.Count == nil {
		return all
	}
	return *request.Count
}

func (request *Request) Commits() bool {
	return request.Commit == nil || *request.Commit
}

// BatchBytesOr gives the largest batch.
func (request *Request) BatchBytesOr(byDefault int32) int32 {
	if request.BatchBytes == nil {
		return byDefault
	}
	return *request.BatchBytes
}

func (request *Request) AcksOr() int16 {
	if request.Acks == nil {
		return -1
	}
	return *request.Acks
}

// SessionTimeout is that of a member of a classic group.
func (request *Request) SessionTimeout() time.Duration {
	if request.SessionTimeoutMs == 0 {
		return 6 * time.Second
	}
	return time.Duration(request.SessionTimeoutMs) * time.Millisecond
}

// AtTime gives the name of a position (earliest, latest, max-timestamp) or a time in milliseconds.
func (request *Request) AtTime() (string, int64) {
	var name string
	if json.Unmarshal(request.At, &name) == nil {
		return name, 0
	}
	var timestampMs int64
	_ = json.Unmarshal(request.At, &timestampMs)
	return "", timestampMs
}

// HeadersOf decodes the headers of a record.
func (record *Record) HeadersOf() (names []string, values [][]byte) {
	for _, pair := range record.Headers {
		var name string
		var value []byte
		_ = json.Unmarshal(pair[0], &name)
		_ = json.Unmarshal(pair[1], &value)
		names, values = append(names, name), append(values, value)
	}
	return names, values
}

// Body is what goes with an event.
type Body map[string]any

// Failure is an error with the code that the Kafka protocol gives it.
type Failure struct {
	Code    int16
	Message string
}

func (failure *Failure) Error() string { return failure.Message }

// InputEnded is closed when the tests have closed the input: a member of a group leaves it then.
var InputEnded = make(chan struct{})

var output sync.Mutex

func Emit(event string, body Body) {
	line := Body{"event": event}
	for name, value := range body {
		line[name] = value
	}
	text, _ := json.Marshal(line)
	output.Lock()
	defer output.Unlock()
	_, _ = os.Stdout.Write(append(text, '\n'))
}

// EmitRecord tells a record that was read; a []byte that is nil is null, one that is empty is not.
func EmitRecord(partition int32, offset int64, timestamp time.Time, key, value []byte, headers [][2]any) {
	if headers == nil {
		headers = [][2]any{}
	}
	Emit("record", Body{
		"partition": partition, "offset": offset, "timestampMs": timestamp.UnixMilli(),
		"key": key, "value": value, "headers": headers,
	})
}

// Acked is where a record came to lie.
func Acked(partition int32, offset int64) Body {
	return Body{"partition": partition, "offset": offset}
}

// Failed stands for a record that came to lie nowhere.
func Failed() Body {
	return Body{"partition": -1, "offset": -1, "isFailed": true}
}

// Serve answers one request after another until the input ends.
func Serve(commands map[string]func(*Request) (Body, error)) {
	requests := make(chan *Request, 1_024)
	go read(requests)
	for request := range requests {
		body, err := commands[request.Command](request)
		var failure *Failure
		switch {
		case err == nil:
			Emit("done", body)
		case errors.As(err, &failure):
			Emit("failed", Body{"code": failure.Code, "message": failure.Message})
		default:
			Emit("failed", Body{"code": nil, "message": err.Error()})
		}
	}
}

func read(requests chan *Request) {
	defer close(requests)
	defer close(InputEnded)
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 1 {
			request := &Request{}
			if problem := json.Unmarshal(line, request); problem != nil {
				Emit("failed", Body{"code": nil, "message": problem.Error()})
			} else {
				requests <- request
			}
		}
		if errors.Is(err, io.EOF) || err != nil {
			return
		}
	}
}
