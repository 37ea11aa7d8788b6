package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// author is a transactional producer by hand: it can be left in the midst of a transaction, and come back as a zombie.
type author struct {
	ID       string
	IsOld    bool // It speaks the protocol from before KIP-890.
	Producer int64
	Epoch    int16
	Next     map[string]int32 // The next sequence of each partition.
	N        int              // Transactions that it has ended.
}

// transaction names the one that is open.
func (a *author) transaction() string { return fmt.Sprintf("%s#%d", a.ID, a.N) }

// asItIs is what a copy of the process would know that was stopped now.
func (a *author) asItIs() *author {
	it := *a
	it.Next = map[string]int32{}
	for at, next := range a.Next {
		it.Next[at] = next
	}
	return &it
}

// press is a broker as authors see it.
type press struct {
	now, before *kgo.Client
}

func newPress(bootstrap string) (*press, error) {
	now, err := speaker(bootstrap, "author", byName)
	if err != nil {
		return nil, err
	}
	before, err := speaker(bootstrap, "author of old", before42)
	if err != nil {
		now.Close()
		return nil, err
	}
	return &press{now, before}, nil
}

func (p *press) close() {
	p.now.Close()
	p.before.Close()
}

func (p *press) client(a *author) *kgo.Client {
	if a.IsOld {
		return p.before
	}
	return p.now
}

// registerOnce gets a producer id and an epoch, which fences whoever had them.
func (p *press) registerOnce(ctx context.Context, a *author, timeout time.Duration) (int16, error) {
	request := kmsg.NewPtrInitProducerIDRequest()
	request.TransactionTimeoutMillis, request.ProducerID, request.ProducerEpoch = int32(timeout.Milliseconds()), -1, -1
	if a.ID != "" {
		request.TransactionalID = &a.ID
	}
	response, err := ask[*kmsg.InitProducerIDResponse](ctx, p.client(a), request)
	if err != nil {
		return 0, err
	}
	if response.ErrorCode == 0 {
		a.Producer, a.Epoch, a.Next = response.ProducerID, response.ProducerEpoch, map[string]int32{}
	}
	return response.ErrorCode, nil
}

func (p *press) register(ctx context.Context, a *author, timeout time.Duration) (int16, error) {
	return settled(a.ID+" registers", func() (int16, error) { return p.registerOnce(ctx, a, timeout) })
}

// add tells the coordinator of a partition, as the old protocol wants it before the first record.
func (p *press) add(ctx context.Context, a *author, topic string, partition int32) (int16, error) {
	return settled(a.ID+" adds a partition", func() (int16, error) {
		request := kmsg.NewPtrAddPartitionsToTxnRequest()
		request.TransactionalID, request.ProducerID, request.ProducerEpoch = a.ID, a.Producer, a.Epoch
		it := kmsg.NewAddPartitionsToTxnRequestTopic()
		it.Topic, it.Partitions = topic, []int32{partition}
		request.Topics = append(request.Topics, it)
		response, err := ask[*kmsg.AddPartitionsToTxnResponse](ctx, p.client(a), request)
		if err != nil {
			return 0, err
		}
		if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
			return 0, fmt.Errorf("AddPartitionsToTxn says nothing of %s-%d", topic, partition)
		}
		return response.Topics[0].Partitions[0].ErrorCode, nil
	})
}

// produce sends a batch, which begins at a sequence, and tells where it went.
func (p *press) produce(ctx context.Context, a *author, topic string, partition, sequence int32, values []string) (code int16, base int64, err error) {
	request := kmsg.NewPtrProduceRequest()
	if a.ID != "" {
		request.TransactionID = &a.ID
	}
	request.Acks, request.TimeoutMillis = -1, 30_000
	ofTopic, ofPartition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	ofTopic.Topic, ofPartition.Partition = topic, partition
	ofPartition.Records = batchOf(a.Producer, a.Epoch, sequence, a.ID != "", time.Now(), values)
	ofTopic.Partitions = append(ofTopic.Partitions, ofPartition)
	request.Topics = append(request.Topics, ofTopic)
	code, err = settled(a.ID+" produces", func() (int16, error) {
		response, err := ask[*kmsg.ProduceResponse](ctx, p.client(a), request)
		if err != nil {
			return 0, err
		}
		if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
			return 0, fmt.Errorf("Produce says nothing of %s-%d", topic, partition)
		}
		base = response.Topics[0].Partitions[0].BaseOffset
		return response.Topics[0].Partitions[0].ErrorCode, nil
	})
	return code, base, err
}

// commitOffset makes a commit a part of the transaction.
func (p *press) commitOffset(ctx context.Context, a *author, group, topic string, at int64) (int16, error) {
	if a.IsOld {
		code, err := settled(a.ID+" adds offsets", func() (int16, error) {
			request := kmsg.NewPtrAddOffsetsToTxnRequest()
			request.TransactionalID, request.ProducerID, request.ProducerEpoch, request.Group = a.ID, a.Producer, a.Epoch, group
			response, err := ask[*kmsg.AddOffsetsToTxnResponse](ctx, p.client(a), request)
			if err != nil {
				return 0, err
			}
			return response.ErrorCode, nil
		})
		if err != nil || code != 0 {
			return code, err
		}
	}
	request := kmsg.NewPtrTxnOffsetCommitRequest()
	request.TransactionalID, request.ProducerID, request.ProducerEpoch, request.Group = a.ID, a.Producer, a.Epoch, group
	ofTopic, ofPartition := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	metadata := "of " + a.transaction()
	ofTopic.Topic, ofPartition.Offset, ofPartition.LeaderEpoch, ofPartition.Metadata = topic, at, -1, &metadata
	ofTopic.Partitions = append(ofTopic.Partitions, ofPartition)
	request.Topics = append(request.Topics, ofTopic)
	return settled(a.ID+" commits offsets", func() (int16, error) {
		response, err := ask[*kmsg.TxnOffsetCommitResponse](ctx, p.client(a), request)
		if err != nil {
			return 0, err
		}
		if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
			return 0, fmt.Errorf("TxnOffsetCommit says nothing of %s", topic)
		}
		return response.Topics[0].Partitions[0].ErrorCode, nil
	})
}

// endOnce ends the transaction; by the new protocol the next one has another epoch.
func (p *press) endOnce(ctx context.Context, a *author, isCommit bool) (int16, error) {
	request := kmsg.NewPtrEndTxnRequest()
	request.TransactionalID, request.ProducerID, request.ProducerEpoch, request.Commit = a.ID, a.Producer, a.Epoch, isCommit
	response, err := ask[*kmsg.EndTxnResponse](ctx, p.client(a), request)
	if err != nil || response.ErrorCode != 0 {
		if err == nil {
			return response.ErrorCode, nil
		}
		return 0, err
	}
	a.N++
	if !a.IsOld && response.ProducerID >= 0 {
		a.Producer, a.Epoch, a.Next = response.ProducerID, response.ProducerEpoch, map[string]int32{}
	}
	return 0, nil
}

func (p *press) end(ctx context.Context, a *author, isCommit bool) (int16, error) {
	return settled(a.ID+" ends its transaction", func() (int16, error) { return p.endOnce(ctx, a, isCommit) })
}
