package main

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// state ID: DescribeTransactions.
func state(w *world, s *step) (string, int16, error) {
	id := w.id(s.word(0))
	request := kmsg.NewPtrDescribeTransactionsRequest()
	request.TransactionalIDs = append(request.TransactionalIDs, id)
	answer, err := answered[*kmsg.DescribeTransactionsResponse](w.cluster.coordinator(transactionCoordinator, id, request))
	if err != nil {
		return "", 0, err
	}
	for _, it := range answer.TransactionStates {
		if it.ErrorCode != 0 {
			return nameOf(it.ErrorCode), it.ErrorCode, nil
		}
		told := []string{it.State, w.who(it.ProducerID, it.ProducerEpoch)}
		var places []string
		for _, topic := range it.Topics {
			for _, partition := range topic.Partitions {
				name := fmt.Sprintf("%s-%d", w.short(topic.Topic), partition)
				if topic.Topic == "__consumer_offsets" {
					name = topic.Topic // Which of its partitions hangs on the names of this run.
				}
				places = append(places, name)
			}
		}
		sort.Strings(places)
		return strings.Join(append(told, places...), " "), 0, nil
	}
	return "nothing", 0, nil
}

// until ID STATE [within=SECONDS]: the first answer that has this state, or the last one.
func untilState(w *world, s *step) (string, int16, error) {
	deadline := time.Now().Add(time.Duration(s.number("within", 10)) * time.Second)
	for {
		answer, code, err := state(w, s)
		if err != nil || code != 0 || strings.HasPrefix(answer, s.word(1)+" ") || time.Now().After(deadline) {
			return answer, code, err
		}
		time.Sleep(pause)
	}
}

// list [state=A,B] [pid=NAME] [longer=MS] [pattern=]: ListTransactions, those of this story.
func list(w *world, s *step) (string, int16, error) {
	request := kmsg.NewPtrListTransactionsRequest()
	request.Version = int16(s.number("v", 2))
	request.DurationFilterMillis = s.number("longer", -1)
	if states := s.option("state", ""); states != "" {
		request.StateFilters = strings.Split(states, ",")
	}
	if name := s.option("pid", ""); name != "" {
		known := w.producers[name]
		if known == nil {
			return "", 0, fmt.Errorf("nobody is called %q", name)
		}
		request.ProducerIDFilters = append(request.ProducerIDFilters, known.id)
	}
	if pattern := s.option("pattern", ""); pattern != "" {
		pattern = w.prefix + pattern
		request.TransactionalIDPattern = &pattern
	}
	answer, err := answered[*kmsg.ListTransactionsResponse](w.cluster.any(request))
	if err != nil {
		return "", 0, err
	}
	if answer.ErrorCode != 0 {
		return nameOf(answer.ErrorCode), answer.ErrorCode, nil
	}
	var all []string
	for _, it := range answer.TransactionStates {
		if strings.HasPrefix(it.TransactionalID, w.prefix) {
			all = append(all, fmt.Sprintf("%s=%s/%s", w.short(it.TransactionalID), w.label(it.ProducerID), it.TransactionState))
		}
	}
	for _, unknown := range answer.UnknownStateFilters {
		all = append(all, "unknown="+unknown)
	}
	return joined(all), 0, nil
}

func joined(all []string) string {
	if len(all) == 0 {
		return "nothing"
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

// producers PARTITION: DescribeProducers.
func describeProducers(w *world, s *step) (string, int16, error) {
	at, err := w.place(s.word(0))
	if err != nil {
		return "", 0, err
	}
	request := kmsg.NewPtrDescribeProducersRequest()
	topic := kmsg.NewDescribeProducersRequestTopic()
	topic.Topic, topic.Partitions = at.topic, []int32{at.partition}
	request.Topics = append(request.Topics, topic)
	answer, err := answered[*kmsg.DescribeProducersResponse](w.cluster.leader(at, request))
	if err != nil {
		return "", 0, err
	}
	var all []string
	for _, topic := range answer.Topics {
		for _, partition := range topic.Partitions {
			if partition.ErrorCode != 0 {
				return nameOf(partition.ErrorCode), partition.ErrorCode, nil
			}
			for _, it := range partition.ActiveProducers {
				// How often the broker's own has moved is not the story's affair.
				coordinator := "own"
				if w.strangers[it.CoordinatorEpoch] {
					coordinator = fmt.Sprint(it.CoordinatorEpoch)
				}
				one := fmt.Sprintf("%s seq=%d coordinator=%s", w.who(it.ProducerID, int16(it.ProducerEpoch)), it.LastSequence, coordinator)
				if it.CurrentTxnStartOffset >= 0 {
					one += fmt.Sprintf(" open=%d", it.CurrentTxnStartOffset)
				}
				all = append(all, one)
			}
		}
	}
	sort.Strings(all)
	if len(all) == 0 {
		return "nobody", 0, nil
	}
	return strings.Join(all, ", "), 0, nil
}

// partition is what a Fetch from the first record on finds.
type partition struct {
	code               int16
	start, stable, end int64
	batches            []batch
	aborted            []kmsg.FetchResponseTopicPartitionAbortedTransaction
}

func (w *world) fetch(s *step, isolation int8) (found partition, err error) {
	at, err := w.place(s.word(0))
	if err != nil {
		return found, err
	}
	first, code, err := w.startOf(at)
	if err != nil || code != 0 {
		return partition{code: code}, err
	}
	next := s.number("from", first)
	for {
		request := kmsg.NewPtrFetchRequest()
		request.Version, request.ReplicaID, request.MaxBytes, request.IsolationLevel, request.SessionEpoch = 11, -1, largestAnswer/2, isolation, -1
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic = at.topic
		asked := kmsg.NewFetchRequestTopicPartition()
		asked.Partition, asked.FetchOffset, asked.PartitionMaxBytes = at.partition, next, largestAnswer/2
		topic.Partitions = append(topic.Partitions, asked)
		request.Topics = append(request.Topics, topic)
		answer, err := answered[*kmsg.FetchResponse](w.cluster.leader(at, request))
		if err != nil {
			return found, err
		}
		if answer.ErrorCode != 0 || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
			return partition{code: answer.ErrorCode}, nil
		}
		it := answer.Topics[0].Partitions[0]
		found.code, found.start, found.stable, found.end = it.ErrorCode, it.LogStartOffset, it.LastStableOffset, it.HighWatermark
		found.aborted = append(found.aborted, it.AbortedTransactions...)
		more, err := batches(it.RecordBatches)
		if err != nil || found.code != 0 || len(more) == 0 {
			return found, err
		}
		found.batches = append(found.batches, more...)
		next = more[len(more)-1].lastOffset() + 1
	}
}

func (w *world) startOf(at place) (int64, int16, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	request.Version, request.ReplicaID = 5, -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = at.topic
	asked := kmsg.NewListOffsetsRequestTopicPartition()
	asked.Partition, asked.Timestamp = at.partition, -2
	topic.Partitions = append(topic.Partitions, asked)
	request.Topics = append(request.Topics, topic)
	answer, err := answered[*kmsg.ListOffsetsResponse](w.cluster.leader(at, request))
	if err != nil {
		return 0, 0, err
	}
	for _, topic := range answer.Topics {
		for _, it := range topic.Partitions {
			return it.Offset, it.ErrorCode, nil
		}
	}
	return 0, 0, fmt.Errorf("no answer about %s", at.topic)
}

// ends PARTITION: where it is stable, and where it ends.
func ends(w *world, s *step) (string, int16, error) {
	found, err := w.fetch(s, 1)
	if err != nil || found.code != 0 {
		return nameOf(found.code), found.code, err
	}
	told := fmt.Sprintf("stable=%d end=%d", found.stable, found.end)
	if found.start > 0 {
		told = fmt.Sprintf("start=%d %s", found.start, told)
	}
	return told, 0, nil
}

// read PARTITION [from=]: the values that a consumer of committed records gets, sorted out by the list of aborted transactions.
func readCommitted(w *world, s *step) (string, int16, error) {
	found, err := w.fetch(s, 1)
	if err != nil || found.code != 0 {
		return nameOf(found.code), found.code, err
	}
	slices.SortFunc(found.aborted, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return int(a.FirstOffset - b.FirstOffset)
	})
	var values []string
	isAborted := map[int64]bool{}
	for _, it := range found.batches {
		for len(found.aborted) > 0 && found.aborted[0].FirstOffset <= it.lastOffset() {
			isAborted[found.aborted[0].ProducerID] = true
			found.aborted = found.aborted[1:]
		}
		switch {
		case it.attributes&isControl != 0:
			if !it.isCommit {
				isAborted[it.producerID] = false
			}
		case it.attributes&isTransactional != 0 && isAborted[it.producerID]:
		default:
			values = append(values, it.values...)
		}
	}
	if len(values) == 0 {
		return "nothing", 0, nil
	}
	return strings.Join(values, " "), 0, nil
}

// log PARTITION: all that stands in it, markers too.
func readLog(w *world, s *step) (string, int16, error) {
	found, err := w.fetch(s, 0)
	if err != nil || found.code != 0 {
		return nameOf(found.code), found.code, err
	}
	var all []string
	for _, it := range found.batches {
		what := strings.Join(it.values, "+")
		if it.attributes&isControl != 0 {
			what = "ABORT"
			if it.isCommit {
				what = "COMMIT"
			}
		}
		if it.producerID >= 0 {
			what = w.who(it.producerID, it.producerEpoch) + ":" + what
		}
		all = append(all, what)
	}
	if len(all) == 0 {
		return "nothing", 0, nil
	}
	return strings.Join(all, " "), 0, nil
}

// aborted PARTITION [from=]: the list that a Fetch of committed records is given.
func abortedTransactions(w *world, s *step) (string, int16, error) {
	found, err := w.fetch(s, 1)
	if err != nil || found.code != 0 {
		return nameOf(found.code), found.code, err
	}
	var all []string
	for _, it := range found.aborted {
		all = append(all, fmt.Sprintf("%s@%d", w.label(it.ProducerID), it.FirstOffset))
	}
	return joined(all), 0, nil
}

// offset GROUP PARTITION [stable]: OffsetFetch; stable: not while a transaction is about to change it.
func fetchOffset(w *world, s *step) (string, int16, error) {
	at, err := w.place(s.word(1))
	if err != nil {
		return "", 0, err
	}
	group := w.id(s.word(0))
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Version, request.RequireStable = 8, s.has("stable")
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = group
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.Partitions = at.topic, []int32{at.partition}
	asked.Topics = append(asked.Topics, topic)
	request.Groups = append(request.Groups, asked)
	answer, err := answered[*kmsg.OffsetFetchResponse](w.cluster.coordinator(groupCoordinator, group, request))
	if err != nil {
		return "", 0, err
	}
	for _, group := range answer.Groups {
		if group.ErrorCode != 0 {
			return nameOf(group.ErrorCode), group.ErrorCode, nil
		}
		for _, topic := range group.Topics {
			for _, it := range topic.Partitions {
				if it.ErrorCode != 0 {
					return nameOf(it.ErrorCode), it.ErrorCode, nil
				}
				return fmt.Sprintf("%d", it.Offset), 0, nil
			}
		}
	}
	return "nothing", 0, nil
}
