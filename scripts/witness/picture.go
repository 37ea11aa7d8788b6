package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// picture prints one sorted line per fact: topics with ids and settings, every record as a hash per partition, offsets by time, groups
// with members and commits, dynamic settings, quotas, features, transactions and producers. Two brokers on the same directory print the
// same.
func picture(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	_ = flags.Parse(arguments) // ExitOnError
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(*bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if err := awaitCoordinators(ctx, client); err != nil {
		return err
	}
	var facts []string
	say := func(format string, arguments ...any) { facts = append(facts, fmt.Sprintf(format, arguments...)) }
	for _, part := range []func(context.Context, *kadm.Client, func(string, ...any)) error{topicFacts, configFacts, groupFacts} {
		if err := part(ctx, admin, say); err != nil {
			return err
		}
	}
	for _, part := range rareFacts {
		if err := part(ctx, client, say); err != nil {
			return err
		}
	}
	if err := recordFacts(ctx, *bootstrap, admin, say); err != nil {
		return err
	}
	slices.Sort(facts)
	fmt.Println(strings.Join(facts, "\n"))
	return nil
}

func topicFacts(ctx context.Context, admin *kadm.Client, say func(string, ...any)) error {
	metadata, err := admin.Metadata(ctx)
	if err != nil {
		return err
	}
	say("cluster %s", metadata.Cluster)
	for name, topic := range metadata.Topics {
		say("topic %s id=%s partitions=%d", name, topic.ID, len(topic.Partitions))
		for _, p := range topic.Partitions {
			say("partition %s-%d leader=%d replicas=%v isr=%v", name, p.Partition, p.Leader, p.Replicas, p.ISR)
		}
	}
	return nil
}

func configFacts(ctx context.Context, admin *kadm.Client, say func(string, ...any)) error {
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	ofTopics, err := admin.DescribeTopicConfigs(ctx, topics.Names()...)
	if err != nil {
		return err
	}
	ofBroker, err := admin.DescribeBrokerConfigs(ctx, 1)
	if err != nil {
		return err
	}
	ofCluster, err := admin.DescribeBrokerConfigs(ctx)
	if err != nil {
		return err
	}
	for what, resources := range map[string]kadm.ResourceConfigs{"topic": ofTopics, "broker": ofBroker, "cluster": ofCluster} {
		for _, resource := range resources {
			if resource.Err != nil {
				return fmt.Errorf("settings of %s %s: %w", what, resource.Name, resource.Err)
			}
			for _, config := range resource.Configs {
				switch config.Source {
				case kmsg.ConfigSourceDynamicTopicConfig, kmsg.ConfigSourceDynamicBrokerConfig, kmsg.ConfigSourceDynamicDefaultBrokerConfig:
					say("setting %s %q %s=%s (%v)", what, resource.Name, config.Key, config.MaybeValue(), config.Source)
				}
			}
		}
	}
	return nil
}

func groupFacts(ctx context.Context, admin *kadm.Client, say func(string, ...any)) error {
	groups, err := again(func() (kadm.ListedGroups, error) { return admin.ListGroups(ctx) })
	if err != nil {
		return err
	}
	for _, group := range groups.Sorted() {
		say("group %s protocol=%q state=%s", group.Group, group.ProtocolType, group.State)
		commits, err := admin.FetchOffsets(ctx, group.Group)
		if err != nil {
			return err
		}
		commits.Each(func(o kadm.OffsetResponse) {
			say("commit %s %s-%d %d epoch=%d %q", group.Group, o.Topic, o.Partition, o.At, o.LeaderEpoch, o.Metadata)
		})
	}
	return nil
}

// recordFacts reads every topic that is not internal from its first record to its last, markers of transactions included.
func recordFacts(ctx context.Context, bootstrap string, admin *kadm.Client, say func(string, ...any)) error {
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	starts, startErr := admin.ListStartOffsets(ctx, topics.Names()...)
	ends, endErr := admin.ListEndOffsets(ctx, topics.Names()...)
	if err := errors.Join(startErr, endErr); err != nil {
		return err
	}
	type place struct {
		topic     string
		partition int32
	}
	from := map[string]map[int32]kgo.Offset{}
	missing := map[place]int64{} // End offsets of the partitions that are not read to their end yet.
	hashes := map[place]hash.Hash{}
	counts := map[place]int{}
	starts.Each(func(start kadm.ListedOffset) {
		at := place{start.Topic, start.Partition}
		end, _ := ends.Lookup(start.Topic, start.Partition)
		say("offsets %s-%d start=%d end=%d", start.Topic, start.Partition, start.Offset, end.Offset)
		hashes[at] = sha256.New()
		if start.Offset < end.Offset {
			missing[at] = end.Offset
			if from[start.Topic] == nil {
				from[start.Topic] = map[int32]kgo.Offset{}
			}
			from[start.Topic][start.Partition] = kgo.NewOffset().At(start.Offset)
		}
	})
	reader, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(from), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer reader.Close()
	times := map[place][]int64{}
	for len(missing) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at := place{r.Topic, r.Partition}
			fmt.Fprintf(hashes[at], "%d %d %d %d %d %d %d %t %q %t %q %q\n", r.Offset, r.LeaderEpoch, r.ProducerID, r.ProducerEpoch,
				r.Attrs.CompressionType(), r.Attrs.TimestampType(), r.Timestamp.UnixMilli(), r.Key == nil, r.Key, r.Value == nil, r.Value, r.Headers)
			counts[at]++
			if counts[at]%200 == 0 {
				times[at] = append(times[at], r.Timestamp.UnixMilli())
			}
			if r.Offset+1 >= missing[at] {
				delete(missing, at)
			}
		})
	}
	for at, sum := range hashes {
		say("records %s-%d n=%d sha256=%x", at.topic, at.partition, counts[at], sum.Sum(nil))
		for _, time := range times[at] {
			found, err := offsetAt(ctx, admin, at.topic, at.partition, time)
			if err != nil {
				return err
			}
			say("by time %s-%d %d -> %s", at.topic, at.partition, time, found)
		}
	}
	return nil
}

func offsetAt(ctx context.Context, admin *kadm.Client, topic string, partition int32, ms int64) (string, error) {
	listed, err := admin.ListOffsetsAfterMilli(ctx, ms, topic)
	if err != nil {
		return "", err
	}
	found, _ := listed.Lookup(topic, partition)
	return fmt.Sprintf("%d at %s", found.Offset, time.UnixMilli(found.Timestamp).UTC().Format(time.RFC3339Nano)), nil
}
