package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// The protocol as itself, for what no client does: a member that hangs, a producer that others believe dead. There is one node, so
// every request goes there.

// The keys and versions that matter to whoever writes a request by hand: those that name topics, and, for a producer of the old
// protocol, those from before KIP-890 (`transaction.version` 2).
var (
	byName   = map[int16]int16{0: 12, 8: 9, 9: 9, 24: 3, 28: 5}
	before42 = map[int16]int16{0: 11, 8: 9, 9: 9, 22: 4, 24: 3, 26: 4, 28: 4}
)

func speaker(bootstrap, clientID string, limits map[int16]int16) (*kgo.Client, error) {
	versions := kversion.Stable()
	for key, version := range limits {
		versions.SetMaxKeyVersion(key, version)
	}
	return kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ClientID(clientID), kgo.MaxVersions(versions))
}

// ask sends a request as it is. Codes in the answer are the caller's.
func ask[R kmsg.Response](ctx context.Context, client *kgo.Client, request kmsg.Request) (R, error) {
	var none R
	answer, err := client.SeedBrokers()[0].RetriableRequest(ctx, request)
	if err != nil {
		return none, fmt.Errorf("%s: %w", kmsg.NameForKey(request.Key()), err)
	}
	typed, isIt := answer.(R)
	if !isIt {
		return none, fmt.Errorf("%s was answered by %T", kmsg.NameForKey(request.Key()), answer)
	}
	return typed, nil
}

func codeName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	if err := kerr.TypedErrorForCode(code); err != nil {
		return err.Message
	}
	return fmt.Sprintf("error %d", code)
}

// isPassing tells of a code that says: not yet, ask again.
func isPassing(code int16) bool {
	switch kerr.ErrorForCode(code) {
	case kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.ConcurrentTransactions,
		kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition:
		return true
	}
	return false
}

// settled repeats a request until its answer is final, and returns that code.
func settled(what string, once func() (int16, error)) (code int16, err error) {
	waited := until(what, func() bool {
		code, err = once()
		return err != nil || !isPassing(code)
	})
	if err == nil && waited != nil {
		err = fmt.Errorf("%w: still %s", waited, codeName(code))
	}
	return code, err
}

// homeOf is the partition of a coordinator's log that a group or a transactional id belongs to.
func homeOf(name string, nPartitions int) int {
	hash := int32(0)
	for _, c := range []byte(name) {
		hash = hash*31 + int32(c)
	}
	if hash == math.MinInt32 {
		return 0
	}
	return int(max(hash, -hash)) % nPartitions
}

// nameAt finds a name that belongs there.
func nameAt(prefix string, home, nPartitions int) string {
	for n := 0; ; n++ {
		if name := fmt.Sprintf("%s%d", prefix, n); homeOf(name, nPartitions) == home {
			return name
		}
	}
}

// awaitCoordinators returns when the logs of groups and transactions have been read: who lists them before misses some.
func awaitCoordinators(ctx context.Context, client *kgo.Client) error {
	return errors.Join(awaitLog(ctx, client, "__consumer_offsets"), awaitLog(ctx, client, "__transaction_state"))
}

func awaitLog(ctx context.Context, client *kgo.Client, log string) error {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = nil // All of them.
	metadata, err := again(func() (*kmsg.MetadataResponse, error) { return ask[*kmsg.MetadataResponse](ctx, client, request) })
	if err != nil {
		return err
	}
	once := func(name string) (int16, error) { return fetchCode(ctx, client, name) }
	if log == "__transaction_state" {
		once = func(name string) (int16, error) {
			state, err := describeTransaction(ctx, client, name)
			return state.ErrorCode, err
		}
	}
	for _, topic := range metadata.Topics {
		if *topic.Topic != log {
			continue
		}
		for home := range topic.Partitions {
			name := nameAt("probe-", home, len(topic.Partitions))
			if _, err := settled(log+" is read", func() (int16, error) { return once(name) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func fetchCode(ctx context.Context, client *kgo.Client, group string) (int16, error) {
	fetched, err := fetchOffsets(ctx, client, group, false)
	return fetched.ErrorCode, err
}

// fetchOffsets asks for all that a group has committed.
func fetchOffsets(ctx context.Context, client *kgo.Client, group string, isStable bool) (fetched kmsg.OffsetFetchResponseGroup, err error) {
	request := kmsg.NewPtrOffsetFetchRequest()
	request.RequireStable = isStable
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = group
	request.Groups = append(request.Groups, asked)
	response, err := ask[*kmsg.OffsetFetchResponse](ctx, client, request)
	if err != nil {
		return fetched, err
	}
	if len(response.Groups) != 1 {
		return fetched, fmt.Errorf("OffsetFetch says nothing of %s", group)
	}
	return response.Groups[0], nil
}

// commit is what a member does, or, without an id, whoever likes.
type commit struct {
	group, member, instance string
	generation              int32 // Or the member's epoch.
	topic                   string
	partition               int32
	at                      int64
	metadata                *string
}

func (c commit) send(ctx context.Context, client *kgo.Client) (int16, error) {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.Generation = c.group, c.member, c.generation
	if c.member == "" {
		request.Generation = -1
	}
	if c.instance != "" {
		request.InstanceID = &c.instance
	}
	topic, partition := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	topic.Topic, partition.Partition, partition.Offset, partition.Metadata, partition.LeaderEpoch = c.topic, c.partition, c.at, c.metadata, -1
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	return settled("a commit", func() (int16, error) {
		response, err := ask[*kmsg.OffsetCommitResponse](ctx, client, request)
		if err != nil {
			return 0, err
		}
		if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
			return 0, fmt.Errorf("OffsetCommit says nothing of %s-%d", c.topic, c.partition)
		}
		return response.Topics[0].Partitions[0].ErrorCode, nil
	})
}

const (
	ofGroups       = int8(0)
	ofTransactions = int8(1)
)

// summon has the logs of the coordinators made, as the first client does.
func summon(ctx context.Context, client *kgo.Client, kind int8, names ...string) error {
	for _, name := range names {
		request := kmsg.NewPtrFindCoordinatorRequest()
		request.CoordinatorType, request.CoordinatorKey, request.CoordinatorKeys = kind, name, []string{name}
		code, err := settled("a coordinator for "+name, func() (int16, error) {
			response, err := ask[*kmsg.FindCoordinatorResponse](ctx, client, request)
			if err != nil {
				return 0, err
			}
			if len(response.Coordinators) != 1 {
				return 0, errors.New("it says nothing of it")
			}
			return response.Coordinators[0].ErrorCode, nil
		})
		if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
			return fmt.Errorf("a coordinator for %s: %w", name, err)
		}
	}
	return nil
}

// batchOf is a batch of magic 2 without compression, as a producer sends it.
func batchOf(producer int64, epoch int16, sequence int32, isTransactional bool, at time.Time, values []string) []byte {
	big := binary.BigEndian
	attributes := uint16(0)
	if isTransactional {
		attributes = 0x10
	}
	ms := uint64(at.UnixMilli())
	covered := big.AppendUint16(nil, attributes)
	covered = big.AppendUint32(covered, uint32(len(values)-1))
	covered = big.AppendUint64(covered, ms)
	covered = big.AppendUint64(covered, ms)
	covered = big.AppendUint64(covered, uint64(producer))
	covered = big.AppendUint16(covered, uint16(epoch))
	covered = big.AppendUint32(covered, uint32(sequence))
	covered = big.AppendUint32(covered, uint32(len(values)))
	for n, value := range values {
		record := binary.AppendVarint([]byte{0, 0}, int64(n))
		record = binary.AppendVarint(record, -1) // No key.
		record = append(binary.AppendVarint(record, int64(len(value))), value...)
		record = append(record, 0)
		covered = append(binary.AppendVarint(covered, int64(len(record))), record...)
	}
	whole := big.AppendUint64(nil, 0)
	whole = big.AppendUint32(whole, uint32(len(covered)+9))
	whole = append(big.AppendUint32(whole, 0), 2)
	whole = big.AppendUint32(whole, crc32.Checksum(covered, crc32.MakeTable(crc32.Castagnoli)))
	return append(whole, covered...)
}
