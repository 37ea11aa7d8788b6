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

const (
	nCopiers = 4
	// How far the orders may be ahead of the invoices that were seen.
	aheadMax = 2000
)

// exactly: copiers turn orders into invoices by transactions, and are killed, and so is the broker; whoever reads what was committed
// must find each order's invoice once, in the order of the orders, and none of a transaction that was aborted.
func exactly(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	brokerKills := flags.Int("broker-kills", 200, "how often to kill the broker")
	clientKills := flags.Int("client-kills", 200, "how often to kill a copier")
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	folder := flags.String("folder", ".", "where the copiers' output goes")
	logPath := flags.String("log", "broker.log", "the broker's output")
	nPartitions := flags.Int("partitions", 6, "of each topic")
	_ = flags.Parse(arguments) // ExitOnError
	b, err := newBroker(flags.Args(), *bootstrap, *logPath)
	if err != nil {
		return err
	}
	if err := b.start(); err != nil {
		return err
	}
	defer func() { _ = b.kill() }()
	office, err := newOffice(ctx, b, *folder, *nPartitions)
	if err != nil {
		return err
	}
	if err := office.work(ctx, *brokerKills, *clientKills); err != nil {
		return err
	}
	said, err := office.close(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d kills of the broker and %d of a client: %s; slowest restart of the broker %d ms, longest wait for the next commit %d ms\n",
		*brokerKills, *clientKills, said, office.slowest.Milliseconds(), office.longest.Milliseconds())
	return b.stop(ctx)
}

// office is all that takes part.
type office struct {
	broker           *broker
	admin            *kadm.Client
	customer         *customer
	observer         *observer
	crew             *crew
	slowest, longest time.Duration
}

func newOffice(ctx context.Context, b *broker, folder string, nPartitions int) (*office, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.bootstrap), kgo.RetryTimeout(patience))
	if err != nil {
		return nil, err
	}
	o := &office{broker: b, admin: kadm.NewClient(client), crew: newCrew(b.bootstrap, folder, nCopiers)}
	for _, topic := range []string{orders, invoices} {
		if _, err := again(func() (kadm.CreateTopicResponse, error) {
			return o.admin.CreateTopic(ctx, int32(nPartitions), 1, nil, topic)
		}); err != nil {
			return nil, err
		}
	}
	if o.observer, err = newObserver(b.bootstrap, nPartitions, kgo.ReadCommitted()); err != nil {
		return nil, err
	}
	if o.customer, err = newCustomer(b.bootstrap, nPartitions); err != nil {
		return nil, err
	}
	o.observer.follow(ctx)
	o.customer.resume(o.observer.seen.Load)
	return o, o.crew.start()
}

// work is the kills, in any order; between two of them something must have been committed.
func (o *office) work(ctx context.Context, brokerKills, clientKills int) error {
	for n, at := range rand.Perm(brokerKills + clientKills) {
		what := "a client"
		if at < brokerKills {
			what = "the broker"
		}
		before := o.observer.seen.Load()
		began := time.Now()
		if err := o.progress(int64(1 + rand.IntN(2*perTransaction))); err != nil {
			return fmt.Errorf("before kill %d: %w", n+1, err)
		}
		waited := time.Since(began)
		o.longest = max(o.longest, waited)
		// At any moment of a transaction.
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		seen := o.observer.seen.Load() - before
		kill := o.crew.kill
		if at < brokerKills {
			kill = o.killBroker
		}
		if err := kill(); err != nil {
			return fmt.Errorf("kill %d: %w", n+1, err)
		}
		fmt.Printf("kill %3d: %-10s after %5d more records that were committed, the first within %5d ms\n", n+1, what, seen, waited.Milliseconds())
	}
	return nil
}

func (o *office) killBroker() error {
	if err := o.broker.kill(); err != nil {
		return err
	}
	began := time.Now()
	err := o.broker.start()
	o.slowest = max(o.slowest, time.Since(began))
	return err
}

// progress waits for so many more committed records.
func (o *office) progress(n int64) error {
	enough := o.observer.seen.Load() + n
	late := until("something is committed", func() bool {
		return o.observer.seen.Load() >= enough || o.failure() != nil || o.broker.dead()
	})
	if o.broker.dead() {
		return fmt.Errorf("the broker ended by itself, see %s", o.broker.log.Name())
	}
	return errors.Join(o.failure(), late)
}

func (o *office) failure() error {
	for _, failure := range []*error{o.observer.failure.Load(), o.customer.failure.Load()} {
		if failure != nil {
			return *failure
		}
	}
	return nil
}

// close lets everything that was ordered be done, and looks at it once more from the first record on.
func (o *office) close(ctx context.Context) (string, error) {
	written, err := o.customer.finish()
	if err != nil {
		return "", err
	}
	o.crew.whole()
	late := until("all invoices are committed", func() bool { return o.failure() != nil || o.observer.reached(written) })
	if err := errors.Join(o.failure(), late); err != nil {
		return "", fmt.Errorf("%w: the numbers read are %v, of %v", err, o.observer.numbers(), written)
	}
	if err := o.crew.stop(); err != nil {
		return "", err
	}
	o.observer.stop()
	all, err := o.audit(ctx, written)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d orders, each copied once, 0 lost, 0 duplicated, 0 aborted seen, order kept in %d partitions; "+
		"%d records besides were written by transactions that copiers aborted and %d by those that something else ended; "+
		"%d copiers gave up by themselves and were started again",
		all.seen.Load(), len(written), all.nDoomed, all.nBesides, o.crew.gaveUp), nil
}

// audit: both kinds of reader from the start, the group's offsets, and that nothing hangs.
func (o *office) audit(ctx context.Context, written []int64) (*observer, error) {
	stable, err := o.admin.ListCommittedOffsets(ctx, invoices)
	if err != nil {
		return nil, err
	}
	ends, err := o.admin.ListEndOffsets(ctx, invoices)
	if err != nil {
		return nil, err
	}
	for p := range written {
		end, _ := ends.Lookup(invoices, int32(p))
		if at, _ := stable.Lookup(invoices, int32(p)); at.Offset != end.Offset {
			return nil, fmt.Errorf("HANGING: partition %d is stable up to %d and ends at %d, and nobody writes", p, at.Offset, end.Offset)
		}
	}
	committed, err := o.admin.FetchOffsets(ctx, copiers)
	if err != nil {
		return nil, err
	}
	for p, n := range written {
		if at, found := committed.Lookup(orders, int32(p)); !found || at.At != n {
			return nil, fmt.Errorf("partition %d: %d orders were copied, and the group is at %d", p, n, at.At)
		}
	}
	for _, isolation := range []kgo.IsolationLevel{kgo.ReadCommitted(), kgo.ReadUncommitted()} {
		it, err := newObserver(o.broker.bootstrap, len(written), isolation)
		if err != nil {
			return nil, err
		}
		it.everything = isolation == kgo.ReadUncommitted()
		it.follow(ctx)
		late := until("all is read once more", func() bool { return it.failure.Load() != nil || it.isAt(ends) })
		it.stop()
		if failure := it.failure.Load(); failure != nil {
			return nil, fmt.Errorf("from the first record: %w", *failure)
		}
		if late != nil {
			return nil, late
		}
		if !it.reached(written) {
			return nil, fmt.Errorf("LOST: from the first record on the numbers are %v, of %v", it.numbers(), written)
		}
		if it.everything {
			it.seen.Add(-it.nDoomed - it.nBesides)
			return it, nil
		}
	}
	return nil, errors.New("no reader")
}
