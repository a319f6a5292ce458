// sarama as an agent of the compatibility tests.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"tailrace.test/agents/agent"
)

var codecs = map[string]sarama.CompressionCodec{
	"":       sarama.CompressionNone,
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

// scramClient is the adapter that sarama's users write.
type scramClient struct {
	hash         scram.HashGeneratorFcn
	conversation *scram.ClientConversation
}

func (client *scramClient) Begin(username, password, authzID string) error {
	found, err := client.hash.NewClient(username, password, authzID)
	if err != nil {
		return err
	}
	client.conversation = found.NewConversation()
	return nil
}

func (client *scramClient) Step(challenge string) (string, error) {
	return client.conversation.Step(challenge)
}

func (client *scramClient) Done() bool { return client.conversation.Done() }

func settings(request *agent.Request) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.ClientID = "compat"
	config.Consumer.MaxWaitTime = 500 * time.Millisecond
	config.Consumer.Return.Errors = true
	config.Metadata.AllowAutoTopicCreation = false
	if sasl := request.Sasl; sasl != nil {
		config.Net.SASL.Enable = true
		config.Net.SASL.User, config.Net.SASL.Password = sasl.Username, sasl.Password
		config.Net.SASL.Mechanism = sarama.SASLMechanism(sasl.Mechanism)
		config.Net.SASL.TokenProvider = token(sasl.Password)
		hash := scram.HashGeneratorFcn(sha256.New)
		if sasl.Mechanism == "SCRAM-SHA-512" {
			hash = sha512.New
		}
		config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: hash} }
	}
	if request.TLS != nil {
		config.Net.TLS.Enable = true
		config.Net.TLS.Config = request.TLS.Config()
	}
	return config
}

// token gives the same one each time it is asked.
type token string

func (t token) Token() (*sarama.AccessToken, error) {
	return &sarama.AccessToken{Token: string(t)}, nil
}

func failure(err error) error {
	var known sarama.KError
	var several sarama.ProducerErrors
	if errors.As(err, &several) && len(several) > 0 {
		return failure(several[0].Err)
	}
	if errors.As(err, &known) {
		// The admin client returns this code for success.
		if known == sarama.ErrNoError {
			return nil
		}
		return &agent.Failure{Code: int16(known), Message: err.Error()}
	}
	return err
}

// encoder makes a nil slice a null, which sarama's own type doesn't.
func encoder(bytes []byte) sarama.Encoder {
	if bytes == nil {
		return nil
	}
	return sarama.ByteEncoder(bytes)
}

func producerSettings(request *agent.Request) *sarama.Config {
	config := settings(request)
	config.Producer.RequiredAcks = sarama.RequiredAcks(request.AcksOr())
	config.Producer.Compression = codecs[request.Codec]
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Producer.MaxMessageBytes = 1_000_000
	config.Producer.Partitioner = sarama.NewHashPartitioner
	for i := range request.Records {
		if request.Records[i].Partition != nil {
			config.Producer.Partitioner = sarama.NewManualPartitioner
		}
	}
	config.Net.MaxOpenRequests = 1
	config.Producer.Idempotent = request.Idempotent
	return config
}

func messagesOf(request *agent.Request) []*sarama.ProducerMessage {
	messages := make([]*sarama.ProducerMessage, len(request.Records))
	for i := range request.Records {
		from := &request.Records[i]
		message := &sarama.ProducerMessage{Topic: request.Topic, Key: encoder(from.Key), Value: encoder(from.Value)}
		if from.Partition != nil {
			message.Partition = *from.Partition
		}
		if from.TimestampMs != nil {
			message.Timestamp = time.UnixMilli(*from.TimestampMs)
		}
		names, values := from.HeadersOf()
		for j, name := range names {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(name), Value: values[j]})
		}
		messages[i] = message
	}
	return messages
}

func produce(request *agent.Request) (agent.Body, error) {
	config, messages := producerSettings(request), messagesOf(request)
	producer, err := sarama.NewSyncProducer([]string{request.Bootstrap}, config)
	if err != nil {
		return nil, failure(err)
	}
	defer producer.Close()
	failed := map[*sarama.ProducerMessage]bool{}
	if err := producer.SendMessages(messages); err != nil {
		var several sarama.ProducerErrors
		if !request.MayFail || !errors.As(err, &several) {
			return nil, failure(err)
		}
		for _, each := range several {
			failed[each.Msg] = true
		}
	}
	acked := []agent.Body{}
	for _, message := range messages {
		if failed[message] {
			acked = append(acked, agent.Failed())
		} else {
			acked = append(acked, agent.Acked(message.Partition, message.Offset))
		}
	}
	return agent.Body{"acked": acked}, nil
}

func emitMessage(message *sarama.ConsumerMessage) {
	headers := [][2]any{}
	for _, header := range message.Headers {
		headers = append(headers, [2]any{string(header.Key), header.Value})
	}
	agent.EmitRecord(message.Partition, message.Offset, message.Timestamp, message.Key, message.Value, headers)
}

func startOf(client sarama.Client, request *agent.Request, partition int32) (int64, error) {
	switch {
	case request.From.Offset != nil:
		return *request.From.Offset, nil
	case request.From.TimestampMs != nil:
		return client.GetOffset(request.Topic, partition, *request.From.TimestampMs)
	case request.From.Named == "latest":
		return client.GetOffset(request.Topic, partition, sarama.OffsetNewest)
	}
	return client.GetOffset(request.Topic, partition, sarama.OffsetOldest)
}

func consume(request *agent.Request) (agent.Body, error) {
	config := settings(request)
	if request.Isolation == "read_committed" {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	client, err := sarama.NewClient([]string{request.Bootstrap}, config)
	if err != nil {
		return nil, failure(err)
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, failure(err)
	}
	defer consumer.Close()
	messages := make(chan *sarama.ConsumerMessage)
	problems := make(chan error, 1)
	stop := make(chan struct{})
	defer close(stop)
	for _, partition := range request.PartitionList() {
		start, err := startOf(client, request, partition)
		if err != nil {
			return nil, failure(err)
		}
		reader, err := consumer.ConsumePartition(request.Topic, partition, start)
		if err != nil {
			return nil, failure(err)
		}
		defer reader.AsyncClose()
		go forward(reader, messages, problems, stop)
	}
	agent.Emit("ready", nil)
	deadline := time.After(time.Duration(request.TimeoutMs) * time.Millisecond)
	for left := request.CountOr(0); left > 0; left-- {
		select {
		case message := <-messages:
			emitMessage(message)
		case err := <-problems:
			return nil, failure(err)
		case <-deadline:
			return nil, nil
		}
	}
	return nil, nil
}

func forward(
	reader sarama.PartitionConsumer, messages chan<- *sarama.ConsumerMessage, problems chan<- error, stop <-chan struct{},
) {
	for {
		select {
		case message := <-reader.Messages():
			if message == nil {
				return
			}
			select {
			case messages <- message:
			case <-stop:
				return
			}
		case err := <-reader.Errors():
			if err != nil {
				select {
				case problems <- err.Err:
				default:
				}
			}
		case <-stop:
			return
		}
	}
}

// member is what sarama calls for each partition that the group gives us.
type member struct {
	request *agent.Request
	enough  context.CancelFunc
	lock    sync.Mutex
	left    int
}

func (member *member) Setup(session sarama.ConsumerGroupSession) error {
	partitions := session.Claims()[member.request.Topic]
	if partitions == nil {
		partitions = []int32{}
	}
	agent.Emit("assigned", agent.Body{"partitions": partitions})
	return nil
}

func (member *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (member *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, isOpen := <-claim.Messages():
			if !isOpen || !member.take(session, message) {
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (member *member) take(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) bool {
	member.lock.Lock()
	defer member.lock.Unlock()
	if member.left == 0 {
		return false
	}
	member.left--
	emitMessage(message)
	if member.request.Commits() {
		session.MarkMessage(message, "")
	}
	if member.left == 0 {
		member.enough()
	}
	return member.left > 0
}

func group(request *agent.Request) (agent.Body, error) {
	if request.Protocol == "consumer" {
		return nil, errors.New("sarama knows the classic protocol only")
	}
	config := settings(request)
	config.Consumer.Group.InstanceId = request.InstanceId
	config.Consumer.Group.Session.Timeout = request.SessionTimeout()
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Group.Rebalance.Timeout = 10 * time.Second
	// At the end of its session it commits what is left.
	config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	if request.Reset == "latest" {
		config.Consumer.Offsets.Initial = sarama.OffsetNewest
	}
	consumer, err := sarama.NewConsumerGroup([]string{request.Bootstrap}, request.Group, config)
	if err != nil {
		return nil, failure(err)
	}
	defer consumer.Close()
	go func() {
		for range consumer.Errors() {
			// A member that lost its group says so here, and joins again.
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-agent.InputEnded
		cancel()
	}()
	handler := &member{request: request, enough: cancel, left: request.CountOr(math.MaxInt)}
	for ctx.Err() == nil {
		if err := consumer.Consume(ctx, []string{request.Topic}, handler); err != nil && ctx.Err() == nil {
			return nil, failure(err)
		}
	}
	return nil, nil
}

func admin(request *agent.Request) (agent.Body, error) {
	client, err := sarama.NewClusterAdmin([]string{request.Bootstrap}, settings(request))
	if err != nil {
		return nil, failure(err)
	}
	defer client.Close()
	body, err := administer(client, request)
	return body, failure(err)
}

func administer(client sarama.ClusterAdmin, request *agent.Request) (agent.Body, error) {
	topic, group, partition := request.Topic, request.Group, request.Partition
	switch request.Op {
	case "create-topic":
		configs := map[string]*string{}
		for name, value := range request.Configs {
			configs[name] = &value
		}
		detail := &sarama.TopicDetail{NumPartitions: request.PartitionCount(), ReplicationFactor: -1, ConfigEntries: configs}
		err := client.CreateTopic(topic, detail, false)
		var problem *sarama.TopicError
		if errors.As(err, &problem) {
			return nil, problem.Err
		}
		return nil, err
	case "describe-topic":
		topics, err := client.DescribeTopics([]string{topic})
		if err != nil {
			return nil, err
		}
		if topics[0].Err != sarama.ErrNoError {
			return nil, topics[0].Err
		}
		return agent.Body{"partitions": len(topics[0].Partitions)}, nil
	case "list-topics":
		found, err := client.ListTopics()
		names := []string{}
		for name := range found {
			names = append(names, name)
		}
		return agent.Body{"topics": names}, err
	case "describe-configs":
		entries, err := client.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
		configs := map[string]string{}
		for _, entry := range entries {
			configs[entry.Name] = entry.Value
		}
		return agent.Body{"configs": configs}, err
	case "alter-configs":
		changes := map[string]sarama.IncrementalAlterConfigsEntry{}
		for name, value := range request.Configs {
			changes[name] = sarama.IncrementalAlterConfigsEntry{
				Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value,
			}
		}
		return nil, client.IncrementalAlterConfig(sarama.TopicResource, topic, changes, false)
	case "create-partitions":
		return nil, client.CreatePartitions(topic, int32(*request.Count), nil, false)
	case "delete-records":
		return nil, client.DeleteRecords(topic, map[int32]int64{partition: request.Offset})
	case "delete-topic":
		return nil, client.DeleteTopic(topic)
	case "list-offsets":
		name, at := request.AtTime()
		if name != "" {
			at = map[string]int64{"earliest": -2, "latest": -1, "max-timestamp": -3}[name]
		}
		found, err := client.ListOffsets(map[string]map[int32]int64{topic: {partition: at}}, nil)
		if err != nil {
			return nil, err
		}
		return agent.Body{"offset": found[topic][partition].Offset}, failure(found[topic][partition].Err)
	case "committed":
		found, err := client.ListConsumerGroupOffsets(group, nil)
		if err != nil {
			return nil, err
		}
		offsets := map[int32]int64{}
		for each, block := range found.Blocks[topic] {
			offsets[each] = block.Offset
		}
		return agent.Body{"offsets": offsets}, nil
	case "reset-offsets":
		offsets := map[int32]sarama.OffsetAndMetadata{}
		for each, offset := range request.Offsets {
			offsets[each] = sarama.OffsetAndMetadata{Offset: offset, LeaderEpoch: -1}
		}
		_, err := client.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{topic: offsets}, nil)
		return nil, err
	case "list-groups":
		found, err := client.ListConsumerGroups()
		names := []string{}
		for name := range found {
			names = append(names, name)
		}
		return agent.Body{"groups": names}, err
	case "describe-group":
		found, err := client.DescribeConsumerGroups([]string{group})
		if err != nil {
			return nil, err
		}
		return agent.Body{"state": found[0].State, "members": len(found[0].Members)}, nil
	case "delete-group":
		return nil, client.DeleteConsumerGroup(group)
	case "describe-cluster":
		brokers, _, err := client.DescribeCluster()
		return agent.Body{"nodes": len(brokers)}, err
	case "list-transactions", "describe-transaction":
		return administerTransactions(client, request)
	}
	return nil, errors.New("unknown op " + request.Op)
}

func main() {
	agent.Serve(map[string]func(*agent.Request) (agent.Body, error){
		"produce": produce, "consume": consume, "group": group, "transact": transact, "admin": admin,
	})
}
