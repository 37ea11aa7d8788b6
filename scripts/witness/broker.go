package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// broker is the process under test.
type broker struct {
	command   []string
	bootstrap string
	log       *os.File
	process   *exec.Cmd
	gone      chan struct{}
}

func newBroker(command []string, bootstrap, logPath string) (*broker, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return &broker{command: command, bootstrap: bootstrap, log: log}, err
}

// start returns once the port answers.
func (b *broker) start() error {
	b.process = exec.Command(b.command[0], b.command[1:]...)
	b.process.Stdout, b.process.Stderr = b.log, b.log
	// A signal to the script's group must not reach the broker by itself, and the broker must not outlive the witness.
	b.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := b.process.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	b.gone = gone
	process := b.process
	go func() { _ = process.Wait(); close(gone) }()
	answers := false
	err := until("the broker's port answers", func() bool {
		connection, err := net.DialTimeout("tcp", b.bootstrap, time.Second)
		if err == nil {
			_ = connection.Close()
			answers = true
		}
		return answers || b.dead()
	})
	if !answers && err == nil {
		err = fmt.Errorf("the broker ended at its start, see %s", b.log.Name())
	}
	return err
}

func (b *broker) dead() bool {
	select {
	case <-b.gone:
		return true
	default:
		return false
	}
}

// kill is kill -9.
func (b *broker) kill() error {
	if b.dead() {
		return fmt.Errorf("the broker had ended by itself, see %s", b.log.Name())
	}
	if err := b.process.Process.Kill(); err != nil {
		return err
	}
	<-b.gone
	return nil
}

// stop is a clean stop.
func (b *broker) stop(ctx context.Context) error {
	if b.dead() {
		return fmt.Errorf("the broker had ended by itself, see %s", b.log.Name())
	}
	if err := b.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-b.gone:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("the broker did not stop on SIGTERM"), b.kill())
	}
}
