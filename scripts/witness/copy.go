package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	orders   = "orders"
	invoices = "invoices"
	copiers  = "copiers" // The group.
	// Records of one transaction, at most.
	perTransaction = 60
	// One transaction in so many is aborted though nothing is wrong.
	abortedIn = 5
	// Longer than a broker needs to start again.
	openMax = 60 * time.Second
	// The header of an invoice that nobody may see.
	doomed = "doomed"
)

// copying is the process that txn-kill-run kills: it reads orders, writes an invoice for each, and commits invoices and offsets in
// one transaction, again and again, until SIGTERM. What it cannot go on after ends it: the next one begins where the last commit was.
func copying(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	id := flags.String("id", "", "transactional id, and id of the member")
	old := flags.Bool("old", false, "speak as clients did before transaction.version 2")
	_ = flags.Parse(arguments) // ExitOnError
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	options := []kgo.Opt{
		kgo.SeedBrokers(*bootstrap), kgo.ClientID(*id), kgo.TransactionalID(*id), kgo.TransactionTimeout(openMax),
		kgo.ConsumerGroup(copiers), kgo.InstanceID(*id), kgo.ConsumeTopics(orders), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.RetryTimeout(patience),
	}
	if *old {
		options = append(options, kgo.MaxVersions(kversion.V3_9_0()))
	}
	session, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		fetches := session.PollRecords(ctx, perTransaction)
		if ctx.Err() != nil {
			return nil
		}
		if fetches.NumRecords() == 0 {
			// The broker may be away; the client asks again by itself.
			continue
		}
		if err := copyOnce(session, fetches); err != nil {
			return err
		}
	}
}

// copyOnce is one transaction. It is not cancelled: who is stopped ends it first.
func copyOnce(session *kgo.GroupTransactSession, fetches kgo.Fetches) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := session.Begin(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	isDoomed := rand.IntN(abortedIn) == 0
	promise := kgo.AbortingFirstErrPromise(session.Client())
	fetches.EachRecord(func(order *kgo.Record) {
		invoice := &kgo.Record{Topic: invoices, Partition: order.Partition, Value: order.Value}
		if isDoomed {
			invoice.Headers = []kgo.RecordHeader{{Key: doomed}}
		}
		session.Produce(ctx, invoice, promise.Promise())
	})
	if rand.IntN(2) == 0 {
		// So that a kill finds it open, and its records in the log.
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
	}
	// Waits until all of it is in the log, or will not be.
	failed := promise.Err()
	if _, err := session.End(ctx, kgo.TransactionEndTry(failed == nil && !isDoomed)); err != nil {
		return errors.Join(fmt.Errorf("end: %w", err), failed)
	}
	if failed != nil {
		fmt.Fprintln(os.Stderr, "a transaction was aborted:", failed)
	}
	return nil
}
