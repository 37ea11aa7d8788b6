package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// init NAME [id=ID] [idempotent] [held] [pid= epoch=] [timeout=MS] [v=]: InitProducerId. What is granted is NAME's from now on.
func initProducer(w *world, s *step) (string, int16, error) {
	name := s.word(0)
	known := w.producers[name]
	if known == nil {
		known = &producer{transactionalID: w.id("x"), isTransactional: true, id: -1, epoch: -1}
		w.producers[name] = known
	}
	it, err := w.as(s)
	if err != nil {
		return "", 0, err
	}
	if s.has("idempotent") {
		it.isTransactional = false
	}
	request := kmsg.NewPtrInitProducerIDRequest()
	request.Version = int16(s.number("v", 5))
	request.TransactionTimeoutMillis = int32(s.number("timeout", 60_000))
	request.ProducerID, request.ProducerEpoch = -1, -1
	if it.isTransactional {
		request.TransactionalID = &it.transactionalID
	}
	if s.has("held") || s.used["pid"] {
		request.ProducerID, request.ProducerEpoch = it.id, it.epoch
	}
	answer, err := answered[*kmsg.InitProducerIDResponse](w.cluster.coordinator(transactionCoordinator, it.key(), request))
	if err != nil {
		return "", 0, err
	}
	if answer.ErrorCode != 0 {
		return nameOf(answer.ErrorCode), answer.ErrorCode, nil
	}
	*known = producer{it.transactionalID, it.isTransactional, answer.ProducerID, answer.ProducerEpoch}
	return w.granted(answer.ProducerID, answer.ProducerEpoch), 0, nil
}

// key is by what the coordinator is found.
func (p producer) key() string {
	if p.isTransactional {
		return p.transactionalID
	}
	return ""
}

// add NAME PARTITIONS [verify] [v=]: AddPartitionsToTxn. Up to version 3 a client sends it; from 4 on a broker does, for clients that
// write without it, or to verify what the others write.
func addPartitions(w *world, s *step) (string, int16, error) {
	it, err := w.as(s)
	if err != nil {
		return "", 0, err
	}
	all, err := w.places(s.word(1))
	if err != nil {
		return "", 0, err
	}
	request := kmsg.NewPtrAddPartitionsToTxnRequest()
	request.Version = int16(s.number("v", 3))
	byTopic := map[string][]int32{}
	for _, at := range all {
		byTopic[at.topic] = append(byTopic[at.topic], at.partition)
	}
	transaction := kmsg.NewAddPartitionsToTxnRequestTransaction()
	transaction.TransactionalID, transaction.ProducerID, transaction.ProducerEpoch = it.transactionalID, it.id, it.epoch
	transaction.VerifyOnly = s.has("verify")
	for topic, partitions := range byTopic {
		old := kmsg.NewAddPartitionsToTxnRequestTopic()
		old.Topic, old.Partitions = topic, partitions
		request.Topics = append(request.Topics, old)
		added := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
		added.Topic, added.Partitions = topic, partitions
		transaction.Topics = append(transaction.Topics, added)
	}
	request.TransactionalID, request.ProducerID, request.ProducerEpoch = it.transactionalID, it.id, it.epoch
	request.Transactions = append(request.Transactions, transaction)
	answer, err := answered[*kmsg.AddPartitionsToTxnResponse](w.cluster.coordinator(transactionCoordinator, it.key(), request))
	if err != nil {
		return "", 0, err
	}
	if answer.ErrorCode != 0 {
		return nameOf(answer.ErrorCode), answer.ErrorCode, nil
	}
	codes := codes{}
	for _, topic := range answer.Topics {
		for _, partition := range topic.Partitions {
			codes.add(w, topic.Topic, partition.Partition, partition.ErrorCode)
		}
	}
	for _, transaction := range answer.Transactions {
		for _, topic := range transaction.Topics {
			for _, partition := range topic.Partitions {
				codes.add(w, topic.Topic, partition.Partition, partition.ErrorCode)
			}
		}
	}
	return codes.told()
}

// codes of partitions: told as one if all are the same.
type codes struct {
	all   []string
	kinds map[int16]bool
	last  int16
}

func (c *codes) add(w *world, topic string, partition int32, code int16) {
	if c.kinds == nil {
		c.kinds = map[int16]bool{}
	}
	c.all = append(c.all, fmt.Sprintf("%s-%d=%s", w.short(topic), partition, nameOf(code)))
	c.kinds[code], c.last = true, code
}

func (c *codes) told() (string, int16, error) {
	switch len(c.kinds) {
	case 0:
		return "nothing", 0, nil
	case 1:
		return nameOf(c.last), c.last, nil
	}
	sort.Strings(c.all)
	return strings.Join(c.all, " "), 0, nil
}

// offsets NAME GROUP [v=]: AddOffsetsToTxn.
func addOffsets(w *world, s *step) (string, int16, error) {
	it, err := w.as(s)
	if err != nil {
		return "", 0, err
	}
	request := kmsg.NewPtrAddOffsetsToTxnRequest()
	request.Version = int16(s.number("v", 3))
	request.TransactionalID, request.ProducerID, request.ProducerEpoch = it.transactionalID, it.id, it.epoch
	request.Group = w.id(s.word(1))
	answer, err := answered[*kmsg.AddOffsetsToTxnResponse](w.cluster.coordinator(transactionCoordinator, it.key(), request))
	if err != nil {
		return "", 0, err
	}
	return nameOf(answer.ErrorCode), answer.ErrorCode, nil
}

// commit-offsets NAME GROUP PARTITION [at=] [member=] [generation=] [instance=] [v=]: TxnOffsetCommit, by default of no member.
func commitOffsets(w *world, s *step) (string, int16, error) {
	it, err := w.as(s)
	if err != nil {
		return "", 0, err
	}
	at, err := w.place(s.word(2))
	if err != nil {
		return "", 0, err
	}
	request := kmsg.NewPtrTxnOffsetCommitRequest()
	request.Version = int16(s.number("v", 5))
	request.TransactionalID, request.ProducerID, request.ProducerEpoch = it.transactionalID, it.id, it.epoch
	request.Group = w.id(s.word(1))
	request.Generation = -1
	if name := s.option("member", ""); name != "" {
		if known := w.members[name]; known != nil {
			request.MemberID, request.Generation, request.InstanceID = known.id, known.generation, known.instance
		} else {
			request.MemberID = name
		}
	}
	request.Generation = int32(s.number("generation", int64(request.Generation)))
	if instance := s.option("instance", ""); instance != "" {
		request.InstanceID = &instance
	}
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = at.topic
	partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	partition.Partition, partition.Offset = at.partition, s.number("at", 1)
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	answer, err := answered[*kmsg.TxnOffsetCommitResponse](w.cluster.coordinator(groupCoordinator, request.Group, request))
	if err != nil {
		return "", 0, err
	}
	codes := codes{}
	for _, topic := range answer.Topics {
		for _, partition := range topic.Partitions {
			codes.add(w, topic.Topic, partition.Partition, partition.ErrorCode)
		}
	}
	return codes.told()
}

// produce NAME PARTITION [seq=] [values=A,B] [plain | bare] [age=MS] [noid] [v=]: one batch, and at which offset it stands. Plain ones are
// outside of a transaction, bare ones of no producer at all; noid leaves the transactional id out of the request. From version 12 on
// the write itself adds the partition.
func produce(w *world, s *step) (string, int16, error) {
	it, err := w.as(s)
	if err != nil {
		return "", 0, err
	}
	at, err := w.place(s.word(1))
	if err != nil {
		return "", 0, err
	}
	written := batch{attributes: isTransactional, producerID: it.id, producerEpoch: it.epoch, baseSequence: int32(s.number("seq", 0)),
		values: strings.Split(s.option("values", "v"), ",")}
	isPlain := s.has("plain") || !it.isTransactional
	if isPlain || s.has("bare") {
		written.attributes = 0
	}
	if s.has("bare") {
		written.producerID, written.producerEpoch, written.baseSequence = -1, -1, -1
	}
	request := kmsg.NewPtrProduceRequest()
	request.Version = int16(s.number("v", 12))
	request.Acks, request.TimeoutMillis = -1, 30_000
	if written.attributes&isTransactional != 0 && !s.has("noid") {
		request.TransactionID = &it.transactionalID
	}
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = at.topic
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Partition = at.partition
	partition.Records = written.bytes(time.Now().Add(-time.Duration(s.number("age", 0)) * time.Millisecond))
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	answer, err := answered[*kmsg.ProduceResponse](w.cluster.leader(at, request))
	if err != nil {
		return "", 0, err
	}
	for _, topic := range answer.Topics {
		for _, partition := range topic.Partitions {
			if partition.ErrorCode == 0 {
				return fmt.Sprintf("at %d", partition.BaseOffset), 0, nil
			}
			return nameOf(partition.ErrorCode), partition.ErrorCode, nil
		}
	}
	return "nothing", 0, nil
}

func commit(w *world, s *step) (string, int16, error) { return end(w, s, true) }

func abort(w *world, s *step) (string, int16, error) { return end(w, s, false) }

// commit NAME, abort NAME [v=]: EndTxn. From version 5 on the answer names the epoch of the next transaction, and NAME goes on with it.
func end(w *world, s *step, isCommit bool) (string, int16, error) {
	it, err := w.as(s)
	if err != nil {
		return "", 0, err
	}
	request := kmsg.NewPtrEndTxnRequest()
	request.Version = int16(s.number("v", 5))
	request.TransactionalID, request.ProducerID, request.ProducerEpoch = it.transactionalID, it.id, it.epoch
	request.Commit = isCommit
	answer, err := answered[*kmsg.EndTxnResponse](w.cluster.coordinator(transactionCoordinator, it.key(), request))
	if err != nil {
		return "", 0, err
	}
	if answer.ErrorCode != 0 || request.Version < 5 {
		return nameOf(answer.ErrorCode), answer.ErrorCode, nil
	}
	known := w.producers[s.word(0)]
	if !s.has("lost") {
		known.id, known.epoch = answer.ProducerID, answer.ProducerEpoch
	}
	return w.granted(answer.ProducerID, answer.ProducerEpoch), 0, nil
}

// marker NAME PARTITIONS commit|abort [coordinator=EPOCH] [tv=] [v=]: WriteTxnMarkers, as a coordinator sends it to a leader.
func writeMarker(w *world, s *step) (string, int16, error) {
	it, err := w.as(s)
	if err != nil {
		return "", 0, err
	}
	all, err := w.places(s.word(1))
	if err != nil {
		return "", 0, err
	}
	request := kmsg.NewPtrWriteTxnMarkersRequest()
	request.Version = int16(s.number("v", 2))
	marker := kmsg.NewWriteTxnMarkersRequestMarker()
	marker.ProducerID, marker.ProducerEpoch, marker.Committed = it.id, it.epoch, s.has("commit")
	marker.CoordinatorEpoch, marker.TransactionVersion = int32(s.number("coordinator", 0)), int8(s.number("tv", 0))
	if marker.CoordinatorEpoch > 0 {
		w.strangers[marker.CoordinatorEpoch] = true
	}
	for _, at := range all {
		topic := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		topic.Topic, topic.Partitions = at.topic, []int32{at.partition}
		marker.Topics = append(marker.Topics, topic)
	}
	request.Markers = append(request.Markers, marker)
	answer, err := answered[*kmsg.WriteTxnMarkersResponse](w.cluster.leader(all[0], request))
	if err != nil {
		return "", 0, err
	}
	codes := codes{}
	for _, marker := range answer.Markers {
		for _, topic := range marker.Topics {
			for _, partition := range topic.Partitions {
				codes.add(w, topic.Topic, partition.Partition, partition.ErrorCode)
			}
		}
	}
	return codes.told()
}

// wear NAME... to=EPOCH: InitProducerId again and again, all of them at once, each on a connection of its own.
func wear(w *world, s *step) (string, int16, error) {
	goal := int16(s.number("to", 0))
	var waiting sync.WaitGroup
	failures := make([]error, len(s.words))
	for n, name := range s.words {
		it := w.producers[name]
		if it == nil {
			return "", 0, fmt.Errorf("nobody is called %q", name)
		}
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			failures[n] = it.wear(newCluster(w.broker.bootstrap), goal)
		}()
	}
	waiting.Wait()
	var worn []string
	for n, name := range s.words {
		if failures[n] != nil {
			return "", 0, failures[n]
		}
		worn = append(worn, w.granted(w.producers[name].id, w.producers[name].epoch))
	}
	return strings.Join(worn, " "), 0, nil
}

func (p *producer) wear(c *cluster, goal int16) error {
	defer c.forget()
	request := kmsg.NewPtrInitProducerIDRequest()
	request.Version, request.TransactionTimeoutMillis, request.TransactionalID = 5, 60_000, &p.transactionalID
	request.ProducerID, request.ProducerEpoch = -1, -1
	refused := 0
	for p.epoch < goal {
		answer, err := answered[*kmsg.InitProducerIDResponse](c.coordinator(transactionCoordinator, p.transactionalID, request))
		if err != nil {
			return err
		}
		if answer.ErrorCode != 0 {
			if refused++; refused > 1000 {
				return fmt.Errorf("epoch %d does not rise: %s", p.epoch, nameOf(answer.ErrorCode))
			}
			time.Sleep(pause)
			continue
		}
		if answer.ProducerID != p.id {
			return fmt.Errorf("another producer id after epoch %d", p.epoch)
		}
		p.epoch = answer.ProducerEpoch
	}
	return nil
}
