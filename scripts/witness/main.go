// Witness is what kill-run, txn-kill-run, swap-run, golden-dirs and soak-run see a broker with: it produces, commits and creates, and says afterwards what must be there.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"
)

// patience bounds every wait for the broker.
const patience = 90 * time.Second

type chore struct {
	name, what string
	run        func(context.Context, *flag.FlagSet, []string) error
}

var chores = []chore{
	{"kill", "rounds of load, kill -9 and verification", kill},
	{"exactly", "copiers that read, process and write are killed, and so is the broker: each record once", exactly},
	{"copy", "such a copier", copying},
	{"durable", "strace shows that an acknowledgement follows the fdatasync", durable},
	{"fill", "fills a fresh broker with everything that swap-run compares", fill},
	{"muster", "groups of both protocols, quotas and settings, from one broker to the next", muster},
	{"plot", "transactions in every state, from one broker to the next", plotChore},
	{"gate", "a way to a port that can be taken away", gate},
	{"churn", "writes to topics that are compacted and shrink, and checks what is left", churn},
	{"transact", "fills topics by transactions, for golden-dirs", transact},
	{"soak", "a mixed load for a long time: memory, descriptors and threads stay", soak},
	{"old", "leaves logs as brokers of long ago wrote them, for golden-dirs", old},
	{"picture", "prints all that a broker holds, to be compared", picture},
}

func main() {
	if len(os.Args) > 1 {
		for _, c := range chores {
			if c.name == os.Args[1] {
				if err := c.run(context.Background(), flag.NewFlagSet(c.name, flag.ExitOnError), os.Args[2:]); err != nil {
					fmt.Fprintf(os.Stderr, "%s: FAIL: %v\n", c.name, err)
					os.Exit(1)
				}
				return
			}
		}
	}
	for _, c := range chores {
		fmt.Fprintf(os.Stderr, "witness %-8s %s\n", c.name, c.what)
	}
	os.Exit(2)
}

func until(what string, holds func() bool) error {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("timed out: %s", what)
		}
	}
	return nil
}

// again asks until there is an answer: right after a restart a client still finds its dead connections.
func again[T any](ask func() (T, error)) (answer T, err error) {
	_ = until("an answer", func() bool {
		answer, err = ask()
		return err == nil
	})
	return answer, err
}
