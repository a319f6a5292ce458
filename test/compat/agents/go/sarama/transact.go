package main

import (
	"errors"

	"github.com/IBM/sarama"

	"tailrace.test/agents/agent"
)

type transactional struct {
	producer sarama.SyncProducer
	isOpen   bool
}

// By transactional id, kept from one request to the next.
var producers = map[string]*transactional{}

func openTransactional(request *agent.Request) (*transactional, error) {
	config := producerSettings(request)
	config.Producer.Idempotent = true
	config.Producer.Transaction.ID = request.TransactionalId
	producer, err := sarama.NewSyncProducer([]string{request.Bootstrap}, config)
	if err != nil {
		return nil, err
	}
	return &transactional{producer: producer}, nil
}

func transact(request *agent.Request) (agent.Body, error) {
	found := producers[request.TransactionalId]
	if found == nil {
		opened, err := openTransactional(request)
		if err != nil {
			return nil, failure(err)
		}
		found = opened
		producers[request.TransactionalId] = found
	}
	if !found.isOpen {
		if err := found.producer.BeginTxn(); err != nil {
			return nil, failure(err)
		}
		found.isOpen = true
	}
	messages := messagesOf(request)
	if err := found.producer.SendMessages(messages); err != nil {
		return nil, failure(err)
	}
	acked := []agent.Body{}
	for _, message := range messages {
		acked = append(acked, agent.Acked(message.Partition, message.Offset))
	}
	if request.InTransaction != nil {
		// They are sent when the transaction is committed.
		if err := found.producer.AddOffsetsToTxn(offsetsOf(request), request.InTransaction.Group); err != nil {
			return nil, failure(err)
		}
	}
	switch request.End {
	case "none":
		return agent.Body{"acked": acked}, nil
	case "commit":
		if err := found.producer.CommitTxn(); err != nil {
			return nil, failure(err)
		}
	default:
		if err := found.producer.AbortTxn(); err != nil {
			return nil, failure(err)
		}
	}
	found.isOpen = false
	return agent.Body{"acked": acked}, nil
}

func offsetsOf(request *agent.Request) map[string][]*sarama.PartitionOffsetMetadata {
	offsets := []*sarama.PartitionOffsetMetadata{}
	for each, offset := range request.InTransaction.Offsets {
		offsets = append(offsets, &sarama.PartitionOffsetMetadata{Partition: each, Offset: offset, LeaderEpoch: -1})
	}
	return map[string][]*sarama.PartitionOffsetMetadata{request.Topic: offsets}
}

func administerTransactions(client sarama.ClusterAdmin, request *agent.Request) (agent.Body, error) {
	transactions, isKnown := client.(sarama.TransactionClusterAdmin)
	if !isKnown {
		return nil, errors.New("the admin client has no transactions")
	}
	if request.Op == "list-transactions" {
		found, err := transactions.ListTransactions(nil, nil, -1)
		ids := []string{}
		for _, each := range found {
			ids = append(ids, each.TransactionalID)
		}
		return agent.Body{"transactionalIds": ids}, err
	}
	found, err := transactions.DescribeTransactions([]string{request.TransactionalId})
	if err != nil {
		return nil, err
	}
	state := found[request.TransactionalId]
	return agent.Body{"state": state.TransactionState}, failure(state.ErrorCode)
}
