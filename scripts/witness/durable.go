package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	durableTopic = "durable"
	nDurable     = 100
)

// durable: records are produced one by one to a broker under strace; in the trace, between the write of each record to its log and the
// write of the answer to the producer's socket, there must stand a finished fdatasync (or fsync) of that very file.
func durable(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	logPath := flags.String("log", "broker.log", "the broker's output")
	trace := flags.String("trace", "trace", "strace's output")
	_ = flags.Parse(arguments) // ExitOnError
	strace, err := exec.LookPath("strace")
	if err != nil {
		return err
	}
	// -D: the broker stays our own child, so that stopping it is stopping the broker and not the tracer.
	calls := "write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync"
	command := append([]string{strace, "-D", "-f", "-yy", "-s", "0", "-e", "signal=none", "-e", "trace=" + calls, "-o", *trace}, flags.Args()...)
	b, err := newBroker(command, *bootstrap, *logPath)
	if err != nil {
		return err
	}
	if err := b.start(); err != nil {
		return err
	}
	defer func() { _ = b.kill() }()
	ports, err := produceOneByOne(ctx, *bootstrap)
	if err != nil {
		return err
	}
	if err := b.stop(ctx); err != nil {
		return err
	}
	file, err := os.Open(*trace)
	if err != nil {
		return err
	}
	defer file.Close()
	return judge(bufio.NewScanner(file), ports)
}

// produceOneByOne gives back the local ports of the producer's connections.
func produceOneByOne(ctx context.Context, bootstrap string) ([]string, error) {
	var lock sync.Mutex
	var ports []string
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			_, port, _ := net.SplitHostPort(connection.LocalAddr().String())
			lock.Lock()
			ports = append(ports, port)
			lock.Unlock()
		}
		return connection, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.Dialer(dial), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, durableTopic); err != nil {
		return nil, err
	}
	for n := range nDurable {
		record := &kgo.Record{Topic: durableTopic, Value: fmt.Appendf(nil, "durable %d", n)}
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

var (
	call     = regexp.MustCompile(`^(\d+) +(\w+)\(\d+<(.+?)>[,) ]`)
	resumed  = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>`)
	peerPort = regexp.MustCompile(`->\[?[0-9a-f.:]*\]?:(\d+)\]`)
)

// judge walks the trace. A line is a whole call, or the beginning ("<unfinished ...>") or the end ("resumed") of one.
func judge(trace *bufio.Scanner, ports []string) error {
	trace.Buffer(nil, 1<<20)
	logFile := filepath.Join(durableTopic+"-0", "00000000000000000000.log")
	type open struct{ name, path string }
	unfinished := map[string]open{}
	written, synced, answers := 0, 0, 0 // Records in the log, of those durable, and acknowledged.
	pending := map[string]int{}         // Records that were in the log when a sync that still runs began.
	finish := func(thread string, c open, line string) {
		switch {
		case !strings.HasSuffix(c.path, logFile):
		case strings.HasSuffix(c.name, "sync"):
			if strings.HasSuffix(strings.TrimSpace(line), "= 0") {
				synced = max(synced, pending[thread])
			}
		default:
			written++
		}
	}
	var wrong error
	begin := func(thread string, c open) {
		if strings.HasSuffix(c.path, logFile) && strings.HasSuffix(c.name, "sync") {
			pending[thread] = written
		}
		port := peerPort.FindStringSubmatch(c.path)
		if port == nil || written == answers || !contains(ports, port[1]) {
			return // Not the answer to a record: before the first, or of another conversation.
		}
		answers++
		if synced < written && wrong == nil {
			wrong = fmt.Errorf("record %d was acknowledged while only %d of %d were synced", answers, synced, written)
		}
	}
	for trace.Scan() {
		line := trace.Text()
		if m := call.FindStringSubmatch(line); m != nil {
			c := open{m[2], m[3]}
			begin(m[1], c)
			if strings.Contains(line, "<unfinished ...>") {
				unfinished[m[1]] = c
			} else {
				finish(m[1], c, line)
			}
		} else if m := resumed.FindStringSubmatch(line); m != nil {
			finish(m[1], unfinished[m[1]], line)
		}
	}
	if err := errors.Join(trace.Err(), wrong); err != nil {
		return err
	}
	if written != nDurable || answers != nDurable {
		return fmt.Errorf("the trace shows %d writes to the log and %d answers instead of %d of each", written, answers, nDurable)
	}
	fmt.Printf("strace: %d of %d acknowledgements were written after a finished fdatasync of the record's own file\n", answers, nDurable)
	return nil
}

func contains(ports []string, port string) bool {
	for _, p := range ports {
		if p == port {
			return true
		}
	}
	return false
}
