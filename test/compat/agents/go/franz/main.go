// franz-go as an agent of the compatibility tests.
package main

import (
	"context"
	"errors"
	"math"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"tailrace.test/agents/agent"
)

var codecs = map[string]kgo.CompressionCodec{
	"":       kgo.NoCompression(),
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func open(request *agent.Request, options ...kgo.Opt) (*kgo.Client, error) {
	options = append(options, kgo.SeedBrokers(request.Bootstrap), kgo.RetryTimeout(20*time.Second))
	if request.TLS != nil {
		options = append(options, kgo.DialTLSConfig(request.TLS.Config()))
	}
	if sasl := request.Sasl; sasl != nil {
		auth := scram.Auth{User: sasl.Username, Pass: sasl.Password}
		switch sasl.Mechanism {
		case "PLAIN":
			options = append(options, kgo.SASL(plain.Auth{User: sasl.Username, Pass: sasl.Password}.AsMechanism()))
		case "OAUTHBEARER":
			options = append(options, kgo.SASL(oauth.Auth{Token: sasl.Password}.AsMechanism()))
		case "SCRAM-SHA-256":
			options = append(options, kgo.SASL(auth.AsSha256Mechanism()))
		default:
			options = append(options, kgo.SASL(auth.AsSha512Mechanism()))
		}
	}
	return kgo.NewClient(options...)
}

func failure(err error) error {
	var known *kerr.Error
	if errors.As(err, &known) {
		return &agent.Failure{Code: known.Code, Message: err.Error()}
	}
	return err
}

// From one request to the next.
var kept *kgo.Client

func produce(request *agent.Request) (agent.Body, error) {
	options := []kgo.Opt{
		kgo.ProducerBatchCompression(codecs[request.Codec]),
		kgo.ProducerBatchMaxBytes(request.BatchBytesOr(1_000_000)),
		kgo.RecordPartitioner(partitioner(request)),
	}
	switch request.AcksOr() {
	case 0:
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	case 1:
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	}
	if !request.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client := kept
	if client == nil || !request.KeepsProducer {
		opened, err := open(request, options...)
		if err != nil {
			return nil, err
		}
		client = opened
	}
	if request.KeepsProducer {
		kept = client
	} else {
		defer client.Close()
	}
	records := recordsOf(request)
	acked := []agent.Body{}
	failed := map[*kgo.Record]bool{}
	for _, result := range client.ProduceSync(context.Background(), records...) {
		if result.Err != nil && !request.MayFail {
			return nil, failure(result.Err)
		}
		failed[result.Record] = result.Err != nil
	}
	// Its results come in the order of the answers.
	for _, record := range records {
		if failed[record] {
			acked = append(acked, agent.Failed())
		} else {
			acked = append(acked, agent.Acked(record.Partition, record.Offset))
		}
	}
	return agent.Body{"acked": acked}, nil
}

func recordsOf(request *agent.Request) []*kgo.Record {
	records := make([]*kgo.Record, len(request.Records))
	for i := range request.Records {
		from := &request.Records[i]
		record := &kgo.Record{Topic: request.Topic, Key: from.Key, Value: from.Value}
		if from.Partition != nil {
			record.Partition = *from.Partition
		}
		if from.TimestampMs != nil {
			record.Timestamp = time.UnixMilli(*from.TimestampMs)
		}
		names, values := from.HeadersOf()
		for j, name := range names {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: values[j]})
		}
		records[i] = record
	}
	return records
}

func partitioner(request *agent.Request) kgo.Partitioner {
	for i := range request.Records {
		if request.Records[i].Partition != nil {
			return kgo.ManualPartitioner()
		}
	}
	return kgo.StickyKeyPartitioner(nil)
}

func emitRecord(record *kgo.Record) {
	headers := [][2]any{}
	for _, header := range record.Headers {
		headers = append(headers, [2]any{header.Key, header.Value})
	}
	agent.EmitRecord(record.Partition, record.Offset, record.Timestamp, record.Key, record.Value, headers)
}

func startOf(from agent.From) kgo.Offset {
	switch {
	case from.Offset != nil:
		return kgo.NewOffset().At(*from.Offset)
	case from.TimestampMs != nil:
		return kgo.NewOffset().AfterMilli(*from.TimestampMs)
	case from.Named == "latest":
		return kgo.NewOffset().AtEnd()
	}
	return kgo.NewOffset().AtStart()
}

func resetOf(reset string) kgo.Offset {
	switch reset {
	case "latest":
		return kgo.NewOffset().AtEnd()
	case "earliest":
		return kgo.NewOffset().AtStart()
	}
	return kgo.NoResetOffset()
}

func consume(request *agent.Request) (agent.Body, error) {
	starts := map[int32]kgo.Offset{}
	for _, partition := range request.PartitionList() {
		starts[partition] = startOf(request.From)
	}
	if request.From.Named == "latest" {
		// The client looks for the end at its first poll, which is later than `ready`.
		if err := resolveEnds(request, starts); err != nil {
			return nil, err
		}
	}
	options := []kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{request.Topic: starts}),
		kgo.ConsumeResetOffset(resetOf(request.Reset)),
		kgo.FetchMaxWait(500 * time.Millisecond),
	}
	if request.Isolation == "read_committed" {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	client, err := open(request, options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	agent.Emit("ready", nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(request.TimeoutMs)*time.Millisecond)
	defer cancel()
	for left := request.CountOr(0); left > 0; {
		fetches := client.PollRecords(ctx, left)
		if ctx.Err() != nil {
			break
		}
		if err := fetches.Err(); err != nil {
			return nil, failure(err)
		}
		fetches.EachRecord(emitRecord)
		left -= fetches.NumRecords()
	}
	return nil, nil
}

func resolveEnds(request *agent.Request, starts map[int32]kgo.Offset) error {
	client, err := open(request)
	if err != nil {
		return err
	}
	defer client.Close()
	found, err := kadm.NewClient(client).ListEndOffsets(context.Background(), request.Topic)
	if err != nil {
		return failure(err)
	}
	for partition := range starts {
		end, _ := found.Lookup(request.Topic, partition)
		starts[partition] = kgo.NewOffset().At(end.Offset)
	}
	return nil
}

func group(request *agent.Request) (agent.Body, error) {
	reset := request.Reset
	if reset == "" {
		reset = "earliest"
	}
	owned := map[int32]bool{}
	tell := func() {
		partitions := []int32{}
		for partition := range owned {
			partitions = append(partitions, partition)
		}
		sort.Slice(partitions, func(i, j int) bool { return partitions[i] < partitions[j] })
		agent.Emit("assigned", agent.Body{"partitions": partitions})
	}
	change := func(has, tells bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			for _, partition := range partitions[request.Topic] {
				if has {
					owned[partition] = true
				} else {
					delete(owned, partition)
				}
			}
			if tells {
				tell()
			}
		}
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(request.Group),
		kgo.ConsumeTopics(request.Topic),
		kgo.ConsumeResetOffset(resetOf(reset)),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(change(true, true)),
		kgo.OnPartitionsRevoked(change(false, true)),
		kgo.OnPartitionsLost(change(false, true)),
	}
	if request.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	} else {
		options = append(options, kgo.SessionTimeout(request.SessionTimeout()), kgo.HeartbeatInterval(500*time.Millisecond))
	}
	if request.InstanceId != "" {
		options = append(options, kgo.InstanceID(request.InstanceId))
	}
	client, err := open(request, options...)
	if err != nil {
		return nil, err
	}
	defer client.CloseAllowingRebalance()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-agent.InputEnded
		cancel()
	}()
	for left := request.CountOr(math.MaxInt); left > 0; {
		fetches := client.PollRecords(ctx, min(left, 500))
		if ctx.Err() != nil {
			break
		}
		if err := fetches.Err(); err != nil {
			return nil, failure(err)
		}
		fetches.EachRecord(emitRecord)
		left -= fetches.NumRecords()
		if request.Commits() && fetches.NumRecords() > 0 {
			if err := client.CommitRecords(context.Background(), fetches.Records()...); err != nil {
				// The records go to another member, or come again.
				agent.Emit("commit-failed", agent.Body{"message": err.Error()})
			}
		}
		client.AllowRebalance()
	}
	return nil, nil
}

func admin(request *agent.Request) (agent.Body, error) {
	client, err := open(request)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	body, err := administer(ctx, kadm.NewClient(client), request)
	return body, failure(err)
}

func administer(ctx context.Context, client *kadm.Client, request *agent.Request) (agent.Body, error) {
	topic, group, partition := request.Topic, request.Group, request.Partition
	switch request.Op {
	case "create-topic":
		configs := map[string]*string{}
		for name, value := range request.Configs {
			configs[name] = &value
		}
		_, err := client.CreateTopic(ctx, request.PartitionCount(), -1, configs, topic)
		return nil, err
	case "describe-topic":
		topics, err := client.ListTopics(ctx, topic)
		if err != nil {
			return nil, err
		}
		return agent.Body{"partitions": len(topics[topic].Partitions)}, topics[topic].Err
	case "list-topics":
		topics, err := client.ListTopics(ctx)
		return agent.Body{"topics": topics.Names()}, err
	case "describe-configs":
		found, err := client.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return nil, err
		}
		resource, err := found.On(topic, nil)
		configs := map[string]*string{}
		for _, config := range resource.Configs {
			configs[config.Key] = config.Value
		}
		return agent.Body{"configs": configs}, errors.Join(err, resource.Err)
	case "alter-configs":
		changes := []kadm.AlterConfig{}
		for name, value := range request.Configs {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
		}
		answer, err := client.AlterTopicConfigs(ctx, changes, topic)
		if err != nil {
			return nil, err
		}
		resource, err := answer.On(topic, nil)
		return nil, errors.Join(err, resource.Err)
	case "create-partitions":
		answer, err := client.UpdatePartitions(ctx, *request.Count, topic)
		if err != nil {
			return nil, err
		}
		return nil, answer.Error()
	case "delete-records":
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, partition, request.Offset, -1)
		answer, err := client.DeleteRecords(ctx, offsets)
		if err != nil {
			return nil, err
		}
		return nil, answer.Error()
	case "delete-topic":
		_, err := client.DeleteTopic(ctx, topic)
		return nil, err
	case "list-offsets":
		found, err := listOffsets(ctx, client, request)
		if err != nil {
			return nil, err
		}
		offset, _ := found.Lookup(topic, partition)
		return agent.Body{"offset": offset.Offset}, offset.Err
	case "committed":
		found, err := client.FetchOffsets(ctx, group)
		offsets := map[int32]int64{}
		found.Each(func(each kadm.OffsetResponse) { offsets[each.Partition] = each.At })
		return agent.Body{"offsets": offsets}, err
	case "reset-offsets":
		offsets := kadm.Offsets{}
		for each, offset := range request.Offsets {
			offsets.AddOffset(topic, each, offset, -1)
		}
		return nil, client.CommitAllOffsets(ctx, group, offsets)
	case "list-groups":
		found, err := client.ListGroups(ctx)
		return agent.Body{"groups": found.Groups()}, err
	case "describe-group":
		found, err := client.DescribeGroups(ctx, group)
		if err != nil {
			return nil, err
		}
		return agent.Body{"state": found[group].State, "members": len(found[group].Members)}, found[group].Err
	case "delete-group":
		_, err := client.DeleteGroup(ctx, group)
		return nil, err
	case "describe-cluster":
		metadata, err := client.BrokerMetadata(ctx)
		return agent.Body{"nodes": len(metadata.Brokers)}, err
	case "list-transactions":
		found, err := client.ListTransactions(ctx, nil, nil)
		return agent.Body{"transactionalIds": found.TransactionalIDs()}, err
	case "describe-transaction":
		id := request.TransactionalId
		found, err := client.DescribeTransactions(ctx, id)
		if err != nil {
			return nil, err
		}
		return agent.Body{"state": found[id].State}, found[id].Err
	}
	return nil, errors.New("unknown op " + request.Op)
}

func listOffsets(ctx context.Context, client *kadm.Client, request *agent.Request) (kadm.ListedOffsets, error) {
	name, timestampMs := request.AtTime()
	switch name {
	case "earliest":
		return client.ListStartOffsets(ctx, request.Topic)
	case "latest":
		return client.ListEndOffsets(ctx, request.Topic)
	case "max-timestamp":
		return client.ListMaxTimestampOffsets(ctx, request.Topic)
	}
	return client.ListOffsetsAfterMilli(ctx, timestampMs, request.Topic)
}

func main() {
	agent.Serve(map[string]func(*agent.Request) (agent.Body, error){
		"produce": produce, "consume": consume, "group": group, "transact": transact, "admin": admin,
	})
}
