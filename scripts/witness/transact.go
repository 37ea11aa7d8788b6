package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// transact fills two topics by transactions that overlap, a third of them aborted, with records outside of any between them; one of
// them stays open. In one of the topics a key is written again and again, so that it can be compacted.
func transact(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	rounds := flags.Int("rounds", 60, "transactions of each of the three producers")
	_ = flags.Parse(arguments) // ExitOnError
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(*bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	topics := map[string]map[string]string{
		"sales":  {"segment.bytes": "1048576", "index.interval.bytes": "1024", "retention.ms": "-1"},
		"stocks": {"segment.ms": "200", "message.timestamp.type": "LogAppendTime", "index.interval.bytes": "512", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"},
	}
	for name, settings := range topics {
		values := map[string]*string{}
		for setting, value := range settings {
			values[setting] = &value
		}
		if _, err := kadm.NewClient(client).CreateTopic(ctx, 2, 1, values, name); err != nil {
			return err
		}
	}
	scribes, err := newScribes(*bootstrap)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(7, 7))
	at := time.Now().Add(-30 * time.Minute).Truncate(time.Second)
	for round := range *rounds {
		for n, scribe := range scribes {
			at = at.Add(time.Duration(random.IntN(9000)) * time.Millisecond)
			if err := scribe.note(ctx, random, at, n > 0); err != nil {
				return err
			}
		}
		for _, n := range random.Perm(len(scribes)) {
			// The first writes outside of transactions; the second's last one stays open.
			if n == 0 || n == 1 && round == *rounds-1 {
				continue
			}
			if err := scribes[n].client.EndTransaction(ctx, kgo.TransactionEndTry(random.IntN(3) > 0)); err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
		}
	}
	return nil
}

type scribe struct{ client *kgo.Client }

func newScribes(bootstrap string) ([]scribe, error) {
	var scribes []scribe
	for n := range 4 {
		options := []kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(allCodecs[n]),
			kgo.ProducerBatchMaxBytes(8_000)}
		if n > 0 {
			options = append(options, kgo.TransactionalID(fmt.Sprintf("scribe-%d", n)), kgo.TransactionTimeout(15*time.Minute))
		}
		client, err := kgo.NewClient(options...)
		if err != nil {
			return nil, err
		}
		scribes = append(scribes, scribe{client})
	}
	return scribes, nil
}

// note writes a few records, as the start of a transaction or outside of any.
func (s scribe) note(ctx context.Context, random *rand.Rand, at time.Time, inTransaction bool) error {
	if inTransaction {
		if err := s.client.BeginTransaction(); err != nil {
			return err
		}
	}
	var records []*kgo.Record
	for n := range 2 + random.IntN(12) {
		record := noise(random, 0)
		record.Topic, record.Partition, record.Timestamp = "sales", int32(random.IntN(2)), at.Add(time.Duration(n)*time.Millisecond)
		if random.IntN(3) == 0 {
			record.Topic, record.Key = "stocks", fmt.Appendf(nil, "key-%d", random.IntN(30))
		}
		records = append(records, record)
	}
	return s.client.ProduceSync(ctx, records...).FirstErr()
}
