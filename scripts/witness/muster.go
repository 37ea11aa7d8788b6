package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// roll is what the members know between two brokers.
type roll struct {
	Round   int
	Classic []*classicGroup
	Modern  []*modernGroup
	Away    []owned // What the member had that went for a while.
}

var deskPartitions = map[string]int32{"desk": 6, "kitchen": 4}

// muster is a round of a group's life on one broker: whoever slept goes on, members come and leave, offsets are committed and deleted,
// an administrator changes the rules. It prints what the broker answered, without what no two brokers have in common. The first round
// makes everything; afterwards nobody leaves, so that the next broker finds members in the midst of all.
func muster(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	file := flags.String("state", "", "what the members know")
	_ = flags.Parse(arguments) // ExitOnError
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	client, err := speaker(*bootstrap, "witness", byName)
	if err != nil {
		return err
	}
	defer client.Close()
	all, err := readRoll(*file)
	if err != nil {
		return err
	}
	if all.Round == 0 {
		err = all.found(ctx, *bootstrap, client)
	} else {
		err = errors.Join(awaitCoordinators(ctx, client), all.resume(ctx, *bootstrap, client, say))
	}
	if err == nil {
		err = all.change(ctx, *bootstrap, client, say)
	}
	if err == nil {
		err = errors.Join(rule(ctx, client, all.Round), checkQuotas(ctx, *bootstrap))
	}
	if err != nil {
		return err
	}
	all.Round++
	bytes, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(*file, bytes, 0o644)
}

func readRoll(file string) (*roll, error) {
	all := &roll{}
	bytes, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(bytes, all)
}

func (r *roll) classic(name string) *classicGroup {
	for _, group := range r.Classic {
		if group.Name == name {
			group.n = deskPartitions
			return group
		}
	}
	return nil
}

func (r *roll) modern(name string) *modernGroup {
	for _, group := range r.Modern {
		if group.Name == name {
			if group.n = deskPartitions; group.Old != nil {
				group.Old.n = deskPartitions
			}
			return group
		}
	}
	return nil
}

// found makes the topics and the groups, as they are before the first change.
func (r *roll) found(ctx context.Context, bootstrap string, client *kgo.Client) error {
	if err := summon(ctx, client, ofGroups, "c-steady"); err != nil {
		return err
	}
	admin := kadm.NewClient(client)
	for topic, n := range deskPartitions {
		if _, err := admin.CreateTopic(ctx, n, 1, nil, topic); err != nil {
			return err
		}
		if err := write(ctx, bootstrap, topic, n, 20, uint64(n)); err != nil {
			return err
		}
	}
	topics, ranges := []string{"desk", "kitchen"}, []string{"range"}
	r.Classic = []*classicGroup{
		{Name: "c-steady", Kind: "consumer", Protocols: []string{"cooperative-sticky", "range"}, Topics: topics,
			Members: []*classicMember{{Name: "s1", Instance: "s1"}, {Name: "s2", Instance: "s2"}, {Name: "d1"}, {Name: "d2"}}},
		{Name: "c-left", Kind: "consumer", Protocols: ranges, Topics: topics},
		{Name: "c-workers", Kind: "workers", Protocols: []string{"first", "second"}, Members: []*classicMember{{Name: "w1"}, {Name: "w2"}}},
	}
	r.Modern = []*modernGroup{
		{Name: "m-steady", Assignor: "uniform", Wants: topics, Members: []*modernMember{{Name: "d1", Topics: topics}, {Name: "d2", Topics: topics},
			{Name: "s1", Instance: "s1", Topics: topics}, {Name: "s2", Instance: "s2", Topics: []string{"desk"}}}},
		{Name: "m-range", Assignor: "range", Wants: topics, Members: []*modernMember{{Name: "r1", Rack: "one", Topics: topics}, {Name: "r2", Rack: "two", Topics: topics}}},
		{Name: "m-pattern", Assignor: "uniform", Wants: topics, Members: []*modernMember{{Name: "p1", Pattern: "kit.*"}, {Name: "p2", Pattern: "(desk|kitchen)"}}},
		{Name: "m-left", Assignor: "uniform", Wants: topics},
		{Name: "m-away", Assignor: "uniform", Wants: topics, Members: []*modernMember{{Name: "s1", Instance: "s1", Topics: topics}, {Name: "s2", Instance: "s2", Topics: topics}}},
		{Name: "m-midway", Assignor: "uniform", Wants: []string{"desk"}, Members: []*modernMember{{Name: "d1", Topics: []string{"desk"}}, {Name: "d2", Topics: []string{"desk"}}}},
		{Name: "m-mixed", Assignor: "uniform", Wants: []string{"kitchen"}, Old: &classicGroup{Name: "m-mixed", Kind: "consumer", Protocols: ranges, Topics: []string{"kitchen"},
			Members: []*classicMember{{Name: "o1"}}}},
	}
	for _, group := range r.Classic {
		if err := r.classic(group.Name).gather(ctx, bootstrap); err != nil {
			return err
		}
	}
	for _, group := range r.Modern {
		if r.modern(group.Name); group.Old != nil {
			// The group is a classic one before the first member of the other protocol comes.
			if err := group.Old.gather(ctx, bootstrap); err != nil {
				return err
			}
			group.Members = []*modernMember{{Name: "m1", Topics: []string{"kitchen"}}}
		}
		if len(group.Members) == 0 {
			continue
		}
		if err := group.gather(ctx, bootstrap, client); err != nil {
			return err
		}
	}
	return nil
}

// resume lets everybody go on where the other broker left them.
func (r *roll) resume(ctx context.Context, bootstrap string, client *kgo.Client, say func(string, ...any)) error {
	for _, group := range r.Classic {
		if err := r.classic(group.Name).resume(ctx, client, say); err != nil {
			return err
		}
	}
	for _, group := range r.Modern {
		if err := r.modern(group.Name).resume(ctx, bootstrap, say); err != nil {
			return err
		}
		if group.Old == nil {
			continue
		}
		if err := group.Old.resume(ctx, client, say); err != nil {
			return err
		}
	}
	// Who went for a while gets back what it had; who would not give up does, and the others get it.
	away := r.modern("m-away")
	member := &modernMember{Name: "s2", Instance: "s2", Topics: []string{"desk", "kitchen"}}
	away.Members = append(away.Members, member)
	before := *away.Members[0]
	if err := away.step(ctx, bootstrap, member); err != nil {
		return err
	}
	say("m-away: s2 is back in the epoch of s1 %t, with what it had %t", member.Epoch == before.Epoch, fmt.Sprint(member.Owned) == fmt.Sprint(r.Away))
	if err := away.gather(ctx, bootstrap, client); err != nil {
		return err
	}
	midway := r.modern("m-midway")
	midway.Members[0].IsLazy = false
	if err := midway.gather(ctx, bootstrap, client); err != nil {
		return err
	}
	for _, member := range midway.Members {
		say("m-midway: %s has %d topics", member.Name, len(member.Owned))
	}
	return nil
}

// change is what happens in each round, the first one included.
func (r *roll) change(ctx context.Context, bootstrap string, client *kgo.Client, say func(string, ...any)) error {
	steps := []func(context.Context, string, *kgo.Client, func(string, ...any)) error{
		r.changeClassic, r.comeAndGo, r.changeModern, r.stopMidway, r.commitMembers, r.commitAnybody,
	}
	for _, step := range steps {
		if err := step(ctx, bootstrap, client, say); err != nil {
			return err
		}
	}
	return nil
}

// changeClassic: a dynamic member leaves, an administrator removes a static one, both are replaced.
func (r *roll) changeClassic(ctx context.Context, bootstrap string, client *kgo.Client, _ func(string, ...any)) error {
	steady := r.classic("c-steady")
	if err := steady.leave(ctx, client, steady.Members[1], steady.Members[3]); err != nil {
		return err
	}
	first, last := steady.Members[0], steady.Members[1]
	fresh := fmt.Sprintf("%d", r.Round+3)
	steady.Members = []*classicMember{first, {Name: "s" + fresh, Instance: "s" + fresh}, last, {Name: "d" + fresh}}
	return steady.gather(ctx, bootstrap)
}

// comeAndGo leaves groups of both protocols that have offsets and no members.
func (r *roll) comeAndGo(ctx context.Context, bootstrap string, client *kgo.Client, _ func(string, ...any)) error {
	left := r.classic("c-left")
	left.Members = []*classicMember{{Name: "d1"}, {Name: "s1", Instance: "s1"}}
	if err := left.gather(ctx, bootstrap); err != nil {
		return err
	}
	if err := r.commitAs(ctx, client, left.Name, left.Members[0].ID, "", left.Generation); err != nil {
		return err
	}
	if err := left.leave(ctx, client, left.Members...); err != nil {
		return err
	}
	gone := r.modern("m-left")
	gone.Members = []*modernMember{{Name: "d1", Topics: []string{"desk"}}, {Name: "s1", Instance: "s1", Topics: []string{"kitchen"}}}
	if err := gone.gather(ctx, bootstrap, client); err != nil {
		return err
	}
	if err := r.commitAs(ctx, client, gone.Name, gone.Members[0].ID, "", gone.Members[0].Epoch); err != nil {
		return err
	}
	for len(gone.Members) > 0 {
		if err := gone.depart(ctx, bootstrap, gone.Members[0], leaves); err != nil {
			return err
		}
	}
	return nil
}

func (r *roll) changeModern(ctx context.Context, bootstrap string, client *kgo.Client, _ func(string, ...any)) error {
	steady := r.modern("m-steady")
	if err := steady.depart(ctx, bootstrap, steady.Members[0], leaves); err != nil {
		return err
	}
	steady.Members = append(steady.Members, &modernMember{Name: fmt.Sprintf("d%d", r.Round+3), Topics: []string{"desk", "kitchen"}})
	if err := steady.gather(ctx, bootstrap, client); err != nil {
		return err
	}
	away := r.modern("m-away")
	r.Away = away.Members[1].Owned
	return away.depart(ctx, bootstrap, away.Members[1], comesBack)
}

// stopMidway: one has everything, another comes, and the first is told to give up half and does not say that it has.
func (r *roll) stopMidway(ctx context.Context, bootstrap string, client *kgo.Client, _ func(string, ...any)) error {
	midway := r.modern("m-midway")
	if err := midway.depart(ctx, bootstrap, midway.Members[1], leaves); err != nil {
		return err
	}
	if err := midway.gather(ctx, bootstrap, client); err != nil {
		return err
	}
	midway.Members[0].IsLazy = true
	midway.Members = append(midway.Members, &modernMember{Name: "d2", Topics: []string{"desk"}})
	why := ""
	for n := 0; n < 2; {
		for _, member := range midway.Members {
			if err := midway.step(ctx, bootstrap, member); err != nil {
				return err
			}
		}
		group, err := describeConsumerGroup(ctx, client, midway.Name)
		if err != nil {
			return err
		}
		if why = group.State; why == "Reconciling" && group.Epoch == group.AssignmentEpoch {
			n++ // Once more: now everybody has heard of it.
		}
		if ctx.Err() != nil {
			return fmt.Errorf("m-midway is %s: %w", why, ctx.Err())
		}
	}
	return nil
}

// commitAs commits to a partition of each topic, with something of each kind for its metadata.
func (r *roll) commitAs(ctx context.Context, client *kgo.Client, group, member, instance string, generation int32) error {
	long, empty := strings.Repeat("x", 4096), ""
	for p, metadata := range []*string{&long, &empty, nil} {
		for topic := range deskPartitions {
			it := commit{group, member, instance, generation, topic, int32(p), int64(r.Round*100 + p), metadata}
			code, err := it.send(ctx, client)
			if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
				return fmt.Errorf("commit to %s: %w", group, err)
			}
		}
	}
	return nil
}

// commitMembers: who is a member may commit, others may not.
func (r *roll) commitMembers(ctx context.Context, _ string, client *kgo.Client, say func(string, ...any)) error {
	var all error
	try := func(what string, it commit) {
		code, err := it.send(ctx, client)
		all = errors.Join(all, err)
		say("%s: commit of %s: %s", it.group, what, codeName(code))
	}
	everybody := func(group, name, id, instance string, generation int32) {
		all = errors.Join(all, r.commitAs(ctx, client, group, id, instance, generation))
		it := commit{group, id, instance, generation + 1, "desk", 0, 7, nil}
		try(name+", early", it)
		it.generation, it.member = generation, "somebody-else"
		try(name+" under another id", it)
		it.member, it.instance = "", ""
		try("nobody", it)
	}
	for _, group := range r.Classic {
		for _, member := range group.Members {
			everybody(group.Name, member.Name, member.ID, member.Instance, member.Generation)
		}
	}
	for _, group := range r.Modern {
		for _, member := range group.Members {
			everybody(group.Name, member.Name, member.ID, member.Instance, member.Epoch)
		}
	}
	return all
}

// commitAnybody: groups without members, one that is deleted, one that loses an offset, one that loses a topic.
func (r *roll) commitAnybody(ctx context.Context, bootstrap string, client *kgo.Client, _ func(string, ...any)) error {
	for _, group := range []string{"simple", "deleted", "shrunk", "vanishing"} {
		if err := r.commitAs(ctx, client, group, "", "", -1); err != nil {
			return err
		}
	}
	admin := kadm.NewClient(client)
	deleted, err := admin.DeleteGroups(ctx, "deleted")
	if err = errors.Join(err, deleted.Error()); err != nil {
		return fmt.Errorf("DeleteGroups: %w", err)
	}
	request := kmsg.NewPtrOffsetDeleteRequest()
	topic, partition := kmsg.NewOffsetDeleteRequestTopic(), kmsg.NewOffsetDeleteRequestTopicPartition()
	request.Group, topic.Topic, partition.Partition = "shrunk", "desk", int32(r.Round%2)
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	shrunk, err := ask[*kmsg.OffsetDeleteResponse](ctx, client, request)
	if err != nil {
		return err
	}
	code := shrunk.ErrorCode
	for _, topic := range shrunk.Topics {
		for _, p := range topic.Partitions {
			code = max(code, p.ErrorCode)
		}
	}
	if code != 0 {
		return fmt.Errorf("OffsetDelete: %s", codeName(code))
	}
	return vanish(ctx, client)
}

// vanish: a topic goes, and with it what was committed of it.
func vanish(ctx context.Context, client *kgo.Client) error {
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, "vanishing"); err != nil {
		return err
	}
	code, err := commit{"vanishing", "", "", -1, "vanishing", 1, 5, nil}.send(ctx, client)
	if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
		return err
	}
	if _, err := admin.DeleteTopic(ctx, "vanishing"); err != nil {
		return err
	}
	return until("offsets of a deleted topic are gone", func() bool {
		fetched, err := fetchOffsets(ctx, client, "vanishing", false)
		n := 0
		for _, topic := range fetched.Topics {
			if topic.Topic == "vanishing" {
				n++
			}
		}
		return err == nil && fetched.ErrorCode == 0 && n == 0
	})
}
