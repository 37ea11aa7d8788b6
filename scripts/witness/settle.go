package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kerr"
)

// settle is the visit of the next broker: what was prepared is finished, what was late is aborted, what was open goes on, zombies are
// refused, offsets become visible with their transactions or not at all.
func (s *scene) settle(ctx context.Context) error {
	steps := []func(context.Context, bool) error{
		s.settlePrepared, s.settleDone, s.settleOffsets, s.settleOpen, s.settleFenced, s.settleIdle, s.settleLate,
	}
	for _, isOld := range []bool{false, true} {
		for _, step := range steps {
			if err := step(ctx, isOld); err != nil {
				return err
			}
		}
	}
	return s.shows(ctx, plotTopics...)
}

// awaitState waits for a transaction to get there.
func (s *scene) awaitState(ctx context.Context, id, wanted string) error {
	state := ""
	err := until(id+" is "+wanted, func() bool {
		described, err := describeTransaction(ctx, s.press.now, id)
		state = described.State
		return err == nil && described.ErrorCode == 0 && state == wanted
	})
	if err != nil {
		return fmt.Errorf("%w: it is %s", err, state)
	}
	say("%s is %s", id, wanted)
	return nil
}

// offsetOf is what a group has committed to partition 0 of a topic.
func (s *scene) offsetOf(ctx context.Context, group, topic string, isStable bool) (int64, int16, error) {
	fetched, err := fetchOffsets(ctx, s.press.now, group, isStable)
	if err = errors.Join(err, kerr.ErrorForCode(fetched.ErrorCode)); err != nil {
		return 0, 0, fmt.Errorf("group %s: %w", group, err)
	}
	for _, ofTopic := range fetched.Topics {
		for _, p := range ofTopic.Partitions {
			if ofTopic.Topic == topic && p.Partition == 0 {
				return p.Offset, p.ErrorCode, nil
			}
		}
	}
	return 0, 0, fmt.Errorf("group %s has committed nothing of %s", group, topic)
}

// hasOffset insists on a commit that nothing is pending upon.
func (s *scene) hasOffset(ctx context.Context, group, topic string, wanted int64) error {
	var at int64
	var code int16
	var err error
	waited := until(group+" has its offset", func() bool {
		at, code, err = s.offsetOf(ctx, group, topic, true)
		return err != nil || code == 0
	})
	if err = errors.Join(err, waited); err != nil {
		return err
	}
	if at != wanted {
		return fmt.Errorf("group %s has committed %d, not %d", group, at, wanted)
	}
	say("%s has committed %d", group, at)
	return nil
}

func (s *scene) wantedOffset(isCommit bool) int64 {
	if isCommit {
		return s.atLast()
	}
	return s.atFirst()
}

// goesOn has an author write and commit one more transaction.
func (s *scene) goesOn(ctx context.Context, a *author, topic string) error {
	if err := s.writeBoth(ctx, a, topic); err != nil {
		return err
	}
	if err := s.end(ctx, a, true); err != nil {
		return err
	}
	say("%s goes on", a.ID)
	return nil
}

// isRefused lets a zombie try everything that it could.
func (s *scene) isRefused(ctx context.Context, zombie *author, topic string) error {
	at := placeOf(topic, 0)
	code, _, err := s.press.produce(ctx, zombie, topic, 0, zombie.Next[at], []string{"of a zombie"})
	answers := "produces " + codeName(code)
	if err == nil && zombie.IsOld {
		code, err = s.press.add(ctx, zombie, topic, 1)
		answers += ", adds a partition " + codeName(code)
	}
	if err == nil {
		code, err = s.press.commitOffset(ctx, zombie, groupFor("zombie", zombie.IsOld), topic, 1)
		answers += ", commits offsets " + codeName(code)
	}
	for _, isCommit := range []bool{true, false} {
		if err == nil {
			code, err = s.press.endOnce(ctx, zombie.asItIs(), isCommit)
			answers += fmt.Sprintf(", ends (commit %t) %s", isCommit, codeName(code))
		}
	}
	say("a zombie of %s: %s", zombie.ID, answers)
	return err
}

func (s *scene) settlePrepared(ctx context.Context, isOld bool) error {
	for _, isCommit := range []bool{true, false} {
		kind := kindOf("prepared", isCommit)
		a := s.author(kind, isOld)
		state := map[bool]string{true: "CompleteCommit", false: "CompleteAbort"}[isCommit]
		err := s.awaitState(ctx, a.ID, state)
		if err == nil {
			err = s.hasOffset(ctx, groupFor(kind, isOld), "prepared", s.wantedOffset(isCommit))
		}
		if err == nil {
			err = s.goesOn(ctx, a, "prepared")
		}
		if err != nil {
			return err
		}
	}
	a := s.author("evicted", isOld)
	if err := s.awaitState(ctx, a.ID, "CompleteAbort"); err != nil {
		return err
	}
	if err := s.isRefused(ctx, a, "prepared"); err != nil {
		return err
	}
	if err := s.hasOffset(ctx, groupFor("evicted", isOld), "prepared", s.atFirst()); err != nil {
		return err
	}
	return s.comesBack(ctx, a, "prepared")
}

// comesBack registers an author anew, and has it go on. Its transaction before that is aborted.
func (s *scene) comesBack(ctx context.Context, a *author, topic string) error {
	before := *a
	a.N++
	code, err := s.press.register(ctx, a, ageless)
	if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
		return fmt.Errorf("%s comes back: %w", a.ID, err)
	}
	say("%s comes back, the same producer %t, epochs on %d", a.ID, a.Producer == before.Producer, a.Epoch-before.Epoch)
	return s.goesOn(ctx, a, topic)
}

// settleDone: ends that are asked for again.
func (s *scene) settleDone(ctx context.Context, isOld bool) error {
	for _, isCommit := range []bool{true, false} {
		kind := kindOf("done", isCommit)
		a := s.author(kind, isOld)
		before := s.Before[a.ID]
		again, err := s.press.endOnce(ctx, before.asItIs(), isCommit)
		opposite, oppositeErr := s.press.endOnce(ctx, before.asItIs(), !isCommit)
		if err = errors.Join(err, oppositeErr); err != nil {
			return err
		}
		say("%s: ended again %s, by the opposite %s", a.ID, codeName(again), codeName(opposite))
		if err := s.hasOffset(ctx, groupFor(kind, isOld), "done", s.wantedOffset(isCommit)); err != nil {
			return err
		}
		if isCommit {
			if err := s.goesOn(ctx, a, "done"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *scene) settleOffsets(ctx context.Context, isOld bool) error {
	for _, isCommit := range []bool{true, false} {
		kind := kindOf("offset", isCommit)
		a, group := s.author(kind, isOld), groupFor(kind, isOld)
		at, code, err := s.offsetOf(ctx, group, "offset", false)
		_, stable, stableErr := s.offsetOf(ctx, group, "offset", true)
		if err = errors.Join(err, stableErr); err != nil {
			return err
		}
		say("%s has %d (%s), and if it shall be stable %s", group, at, codeName(code), codeName(stable))
		if kerr.ErrorForCode(stable) != kerr.UnstableOffsetCommit {
			return fmt.Errorf("the offsets of %s are pending no more", group)
		}
		if err := s.end(ctx, a, isCommit); err != nil {
			return err
		}
		if err := s.hasOffset(ctx, group, "offset", s.wantedOffset(isCommit)); err != nil {
			return err
		}
	}
	return nil
}

// settleOpen: a producer that has slept goes on in the midst of its transaction.
func (s *scene) settleOpen(ctx context.Context, isOld bool) error {
	a := s.author("open", isOld)
	state, err := describeTransaction(ctx, s.press.now, a.ID)
	if err != nil {
		return err
	}
	say("%s is %s", a.ID, state.State)
	fmt.Fprintln(os.Stderr, transactionText(state))
	at := placeOf("open", 0)
	next := a.Next[at]
	// Its last batch once more, as if the answer had been lost; one that leaves a gap; one that goes back.
	again, _, err := s.press.produce(ctx, a, "open", 0, next-2, []string{"again 1", "again 2"})
	gap, _, gapErr := s.press.produce(ctx, a, "open", 0, next+5, []string{"a gap"})
	back, _, backErr := s.press.produce(ctx, a, "open", 0, next-1, []string{"back"})
	if err = errors.Join(err, gapErr, backErr); err != nil {
		return err
	}
	say("%s: again %s, with a gap %s, going back %s", a.ID, codeName(again), codeName(gap), codeName(back))
	return s.goesOn(ctx, a, "open")
}

// settleFenced: another instance takes over an open transaction, which aborts it.
func (s *scene) settleFenced(ctx context.Context, isOld bool) error {
	a := s.author("fenced", isOld)
	zombie := a.asItIs()
	if err := s.comesBack(ctx, a, "fenced"); err != nil {
		return err
	}
	return s.isRefused(ctx, zombie, "fenced")
}

// settleIdle: one that had registered only begins.
func (s *scene) settleIdle(ctx context.Context, isOld bool) error {
	return s.goesOn(ctx, s.author("idle", isOld), "done")
}

func (s *scene) settleLate(ctx context.Context, isOld bool) error {
	a := s.author("late", isOld)
	if err := s.awaitState(ctx, a.ID, "CompleteAbort"); err != nil {
		return err
	}
	if err := s.isRefused(ctx, a, "late"); err != nil {
		return err
	}
	return s.comesBack(ctx, a, "late")
}
