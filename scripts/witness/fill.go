package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var allCodecs = []kgo.CompressionCodec{
	kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
}

// The topics of fill, each for a reason.
var shelves = []struct {
	name        string
	nPartitions int32
	settings    map[string]string
	perCodec    int // Records per partition and codec.
}{
	{"plain", 3, map[string]string{"segment.bytes": "1048576", "retention.ms": "-1"}, 600},
	{"stamped", 1, map[string]string{"message.timestamp.type": "LogAppendTime", "max.message.bytes": "2000000"}, 100},
	{"dense", 1, map[string]string{"index.interval.bytes": "256", "compression.type": "zstd"}, 100},
	{"shrunk", 1, map[string]string{"segment.bytes": "1048576"}, 600},
	{"grown", 1, nil, 50},
	{"silent", 2, map[string]string{"cleanup.policy": "delete", "flush.messages": "1000"}, 0},
}

// fill makes what swap-run compares: topics with settings, several segments, all codecs, deleted records, a deleted topic, dynamic
// settings, groups with commits. With -more it goes on where another broker has left off.
func fill(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	more := flags.Bool("more", false, "append to what is there")
	_ = flags.Parse(arguments) // ExitOnError
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(*bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if *more {
		return errors.Join(appendMore(ctx, *bootstrap, admin), commitAll(ctx, *bootstrap, admin))
	}
	for _, shelf := range shelves {
		settings := map[string]*string{}
		for name, value := range shelf.settings {
			settings[name] = &value
		}
		if _, err := admin.CreateTopic(ctx, shelf.nPartitions, 1, settings, shelf.name); err != nil {
			return err
		}
	}
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, "gone"); err != nil {
		return err
	}
	if err := write(ctx, *bootstrap, "gone", 2, 10, 0); err != nil {
		return err
	}
	for n, shelf := range shelves {
		if err := write(ctx, *bootstrap, shelf.name, shelf.nPartitions, shelf.perCodec, uint64(n)); err != nil {
			return err
		}
	}
	return errors.Join(change(ctx, admin), commitAll(ctx, *bootstrap, admin))
}

// change is what an administrator did meanwhile.
func change(ctx context.Context, admin *kadm.Client) error {
	offsets := kadm.Offsets{}
	offsets.AddOffset("shrunk", 0, 1234, -1)
	shrunk, err := admin.DeleteRecords(ctx, offsets)
	if err = errors.Join(err, shrunk.Error()); err != nil {
		return fmt.Errorf("DeleteRecords: %w", err)
	}
	grown, err := admin.UpdatePartitions(ctx, 3, "grown")
	if err = errors.Join(err, grown.Error()); err != nil {
		return fmt.Errorf("CreatePartitions: %w", err)
	}
	if _, err := admin.DeleteTopic(ctx, "gone"); err != nil {
		return fmt.Errorf("DeleteTopics: %w", err)
	}
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
	}
	topic, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{set("retention.bytes", "987654321"), {Op: kadm.DeleteConfig, Name: "flush.messages"}}, "silent")
	if err = errors.Join(err, alterError(topic)); err != nil {
		return fmt.Errorf("IncrementalAlterConfigs of a topic: %w", err)
	}
	cluster, err := admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{set("message.max.bytes", "1500000")})
	if err = errors.Join(err, alterError(cluster)); err != nil {
		return fmt.Errorf("IncrementalAlterConfigs of the cluster: %w", err)
	}
	broker, err := admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{set("log.segment.bytes", "500000000")}, 1)
	if err = errors.Join(err, alterError(broker)); err != nil {
		return fmt.Errorf("IncrementalAlterConfigs of a broker: %w", err)
	}
	return nil
}

func alterError(responses kadm.AlterConfigsResponses) (all error) {
	for _, response := range responses {
		all = errors.Join(all, response.Err)
	}
	return all
}

func appendMore(ctx context.Context, bootstrap string, admin *kadm.Client) error {
	for n, shelf := range shelves {
		topics, err := admin.ListTopics(ctx, shelf.name)
		if err != nil {
			return err
		}
		if err := write(ctx, bootstrap, shelf.name, int32(len(topics[shelf.name].Partitions)), 20, uint64(100+n)); err != nil {
			return err
		}
	}
	return nil
}

// write fills each partition of a topic with each codec, by an idempotent producer each. The same seed writes the same.
func write(ctx context.Context, bootstrap, topic string, nPartitions int32, perCodec int, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, seed))
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, codec := range allCodecs {
		producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(100_000))
		if err != nil {
			return err
		}
		var records []*kgo.Record
		for n := range perCodec * int(nPartitions) {
			record := noise(random, n)
			record.Partition = int32(n) % nPartitions
			// Mostly rising, sometimes back: the largest of a segment is what the time index must find.
			began = began.Add(time.Duration(random.IntN(40)-5) * time.Millisecond)
			record.Timestamp = began
			records = append(records, record)
		}
		err = producer.ProduceSync(ctx, records...).FirstErr()
		producer.Close()
		if err != nil {
			return fmt.Errorf("producing to %s: %w", topic, err)
		}
	}
	return nil
}

// noise is a record that does not compress to nothing, with absent and empty parts now and then.
func noise(random *rand.Rand, n int) *kgo.Record {
	value := make([]byte, 500+random.IntN(1000))
	for i := range value {
		value[i] = byte(random.UintN(256))
	}
	record := &kgo.Record{Key: fmt.Appendf(nil, "key-%d", random.IntN(1000)), Value: value}
	switch n % 10 {
	case 1:
		record.Key = nil
	case 2:
		record.Value = nil
	case 3:
		record.Key, record.Value = []byte{}, []byte{}
	case 4:
		record.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{}}}
	}
	return record
}

// commitAll: one group that has read and left, one that was only ever written by an administrator.
func commitAll(ctx context.Context, bootstrap string, admin *kadm.Client) error {
	member, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("plain", "grown"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer member.Close()
	for read := 0; read < 300; {
		fetches := member.PollRecords(ctx, 300)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading as a group: %w", err)
		}
		read += fetches.NumRecords()
	}
	if err := member.CommitUncommittedOffsets(ctx); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	offsets := kadm.Offsets{}
	for p := range int32(3) {
		offsets.Add(kadm.Offset{Topic: "plain", Partition: p, At: int64(p) + rand.Int64N(100), LeaderEpoch: -1, Metadata: fmt.Sprintf("by hand, %d", p)})
	}
	committed, err := admin.CommitOffsets(ctx, "offline", offsets)
	return errors.Join(err, committed.Error())
}
