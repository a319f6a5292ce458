package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tailrace.test/agents/agent"
)

type transactional struct {
	client *kgo.Client
	isOpen bool
}

// By transactional id, kept from one request to the next.
var producers = map[string]*transactional{}

func transact(request *agent.Request) (agent.Body, error) {
	id := request.TransactionalId
	if producers[id] == nil {
		client, err := open(request, kgo.TransactionalID(id), kgo.RecordPartitioner(partitioner(request)))
		if err != nil {
			return nil, err
		}
		producers[id] = &transactional{client: client}
	}
	producer := producers[id]
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if !producer.isOpen {
		if err := producer.client.BeginTransaction(); err != nil {
			return nil, failure(err)
		}
		producer.isOpen = true
	}
	records := recordsOf(request)
	if err := producer.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return nil, failure(err)
	}
	acked := []agent.Body{}
	for _, record := range records {
		acked = append(acked, agent.Acked(record.Partition, record.Offset))
	}
	if request.InTransaction != nil {
		if err := commitOffsets(ctx, producer.client, request); err != nil {
			return nil, failure(err)
		}
	}
	if request.End != "none" {
		if err := producer.client.EndTransaction(ctx, kgo.TransactionEndTry(request.End == "commit")); err != nil {
			return nil, failure(err)
		}
		producer.isOpen = false
	}
	return agent.Body{"acked": acked}, nil
}

// The library commits offsets in transactions only for members of groups, so these requests are made by hand.
func commitOffsets(ctx context.Context, client *kgo.Client, request *agent.Request) error {
	id, epoch, err := client.ProducerID(ctx)
	if err != nil {
		return err
	}
	add := kmsg.NewAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = request.TransactionalId, id, epoch
	add.Group = request.InTransaction.Group
	added, err := add.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(added.ErrorCode); err != nil {
		return err
	}
	commit := kmsg.NewTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch = request.TransactionalId, id, epoch
	commit.Group, commit.Generation = request.InTransaction.Group, -1
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = request.Topic
	for each, offset := range request.InTransaction.Offsets {
		partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = each, offset
		topic.Partitions = append(topic.Partitions, partition)
	}
	commit.Topics = append(commit.Topics, topic)
	answer, err := commit.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, topic := range answer.Topics {
		for _, partition := range topic.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}
