package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// A member of the group that is silent for so long is given up, and others get its partitions.
const absence = 7 * time.Second

// crew is the processes that copy. Whoever ends by itself is started again.
type crew struct {
	bootstrap, folder string
	members           []*member
	lock              sync.Mutex
	gaveUp            int // Processes that ended by themselves.
	isOver            bool
	absent            sync.WaitGroup
}

type member struct {
	id      string
	old     bool
	process *exec.Cmd // Nil while it is dead.
	gone    chan struct{}
}

func newCrew(bootstrap, folder string, n int) *crew {
	c := &crew{bootstrap: bootstrap, folder: folder}
	for i := range n {
		// Half of them speak the protocol of before transaction.version 2.
		c.members = append(c.members, &member{id: fmt.Sprintf("copier-%d", i), old: i%2 == 1})
	}
	return c
}

func (c *crew) start() error {
	for _, m := range c.members {
		if err := c.hire(m); err != nil {
			return err
		}
	}
	return nil
}

// hire starts a member's process.
func (c *crew) hire(m *member) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.isOver || m.process != nil {
		return nil
	}
	log, err := os.OpenFile(filepath.Join(c.folder, m.id+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	process := exec.Command(os.Args[0], "copy", "-bootstrap", c.bootstrap, "-id", m.id, fmt.Sprintf("-old=%v", m.old))
	process.Stdout, process.Stderr = log, log
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	m.process, m.gone = process, gone
	go c.attend(m, process, gone)
	return nil
}

func (c *crew) attend(m *member, process *exec.Cmd, gone chan struct{}) {
	_ = process.Wait()
	close(gone)
	c.lock.Lock()
	wasKilled := m.process != process
	if !wasKilled {
		m.process = nil
		if !c.isOver {
			c.gaveUp++
		}
	}
	c.lock.Unlock()
	if !wasKilled {
		time.Sleep(100 * time.Millisecond)
		_ = c.hire(m)
	}
}

// kill is kill -9 of one of those who live; most are started again at once, one in eight when the group has given it up.
func (c *crew) kill() error {
	for {
		c.lock.Lock()
		m := c.members[rand.IntN(len(c.members))]
		process, gone := m.process, m.gone
		if process == nil {
			c.lock.Unlock()
			time.Sleep(10 * time.Millisecond)
			continue
		}
		m.process = nil
		c.lock.Unlock()
		if err := process.Process.Kill(); err != nil {
			return err
		}
		<-gone
		if rand.IntN(8) > 0 {
			return c.hire(m)
		}
		c.absent.Add(1)
		go func() {
			defer c.absent.Done()
			time.Sleep(absence)
			_ = c.hire(m)
		}()
		return nil
	}
}

// whole waits until everybody is there again.
func (c *crew) whole() { c.absent.Wait() }

// stop ends all of them, each behind its transaction.
func (c *crew) stop() error {
	c.lock.Lock()
	c.isOver = true
	var running []member
	for _, m := range c.members {
		if m.process != nil {
			running = append(running, *m)
		}
	}
	c.lock.Unlock()
	for _, m := range running {
		_ = m.process.Process.Signal(syscall.SIGTERM)
	}
	for _, m := range running {
		select {
		case <-m.gone:
		case <-time.After(patience):
			_ = m.process.Process.Kill()
			return fmt.Errorf("%s does not stop", m.id)
		}
	}
	return nil
}
