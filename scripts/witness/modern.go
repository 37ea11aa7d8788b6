package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// modernMember speaks the consumer protocol (KIP-848) by hand.
type modernMember struct {
	Name, Instance, Rack, Pattern, ID string
	Topics                            []string
	Epoch                             int32
	Owned                             []owned
	IsLazy                            bool // Does not give up what it shall give up.
}

type owned struct {
	Topic      string // Its id, in hexadecimal.
	Partitions []int32
}

type modernGroup struct {
	Name, Assignor string
	Wants          []string // Topics of which every partition shall have an owner.
	Members        []*modernMember
	Old            *classicGroup // Members that speak the classic protocol in this very group.
	n              map[string]int32
}

func newID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // It never fails.
	return fmt.Sprintf("%x-%x", id[:8], id[8:])
}

// The epochs by which a member leaves, for good and for a while.
const (
	leaves    = int32(-1)
	comesBack = int32(-2)
)

func (g *modernGroup) heartbeat(ctx context.Context, bootstrap string, member *modernMember) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	client, err := speaker(bootstrap, member.Name, byName)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	request := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	request.Group, request.MemberID, request.MemberEpoch = g.Name, member.ID, member.Epoch
	if member.Instance != "" {
		request.InstanceID = &member.Instance
	}
	if member.Epoch >= 0 {
		request.RebalanceTimeoutMillis = sessionMs
		request.ServerAssignor = &g.Assignor
		request.SubscribedTopicNames = append([]string{}, member.Topics...)
		if member.Rack != "" {
			request.RackID = &member.Rack
		}
		if member.Pattern != "" {
			request.SubscribedTopicRegex = &member.Pattern
		}
		request.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, own := range member.Owned {
			it := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			if _, err := hex.Decode(it.TopicID[:], []byte(own.Topic)); err != nil {
				return nil, err
			}
			it.Partitions = own.Partitions
			request.Topics = append(request.Topics, it)
		}
	}
	var response *kmsg.ConsumerGroupHeartbeatResponse
	_, err = settled("a heartbeat", func() (code int16, err error) {
		if response, err = ask[*kmsg.ConsumerGroupHeartbeatResponse](ctx, client, request); err == nil {
			code = response.ErrorCode
		}
		return code, err
	})
	return response, err
}

// step sends a heartbeat, and does as it is told.
func (g *modernGroup) step(ctx context.Context, bootstrap string, member *modernMember) error {
	if member.ID == "" {
		member.ID = newID()
	}
	response, err := g.heartbeat(ctx, bootstrap, member)
	if err != nil {
		return err
	}
	if response.ErrorCode != 0 {
		return fmt.Errorf("heartbeat of %s in %s: %s %s", member.Name, g.Name, codeName(response.ErrorCode), text(response.ErrorMessage))
	}
	member.Epoch = response.MemberEpoch
	if response.Assignment != nil && !member.IsLazy {
		member.Owned = ownedOf(response.Assignment)
	}
	return nil
}

func ownedOf(assignment *kmsg.ConsumerGroupHeartbeatResponseAssignment) []owned {
	all := []owned{}
	for _, topic := range assignment.Topics {
		all = append(all, owned{fmt.Sprintf("%x", topic.TopicID), topic.Partitions})
	}
	return sorted(all)
}

func sorted(all []owned) []owned {
	for _, one := range all {
		slices.Sort(one.Partitions)
	}
	slices.SortFunc(all, func(a, b owned) int { return compare(a.Topic, b.Topic) })
	return all
}

// gather has all members send heartbeats until the group is stable and each of them knows what it has.
func (g *modernGroup) gather(ctx context.Context, bootstrap string, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	why := ""
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		for _, member := range g.Members {
			if err := g.step(ctx, bootstrap, member); err != nil {
				return err
			}
		}
		if g.Old != nil {
			if err := g.Old.gather(ctx, bootstrap); err != nil {
				return err
			}
		}
		group, err := describeConsumerGroup(ctx, client, g.Name)
		if err != nil {
			return err
		}
		if why = g.unsettled(group); why == "" {
			return nil
		}
	}
	return fmt.Errorf("%s does not settle: %s", g.Name, why)
}

// unsettled tells what is missing: every partition has one owner, in this epoch, and the member knows of it.
func (g *modernGroup) unsettled(group kmsg.ConsumerGroupDescribeResponseGroup) string {
	if group.State != "Stable" || group.Epoch != group.AssignmentEpoch {
		return fmt.Sprintf("it is %s, in epoch %d, its assignment is of %d", group.State, group.Epoch, group.AssignmentEpoch)
	}
	owners := map[string]string{}
	for _, described := range group.Members {
		has, wanted := ownedIn(described.Assignment), ownedIn(described.TargetAssignment)
		if fmt.Sprint(has) != fmt.Sprint(wanted) {
			return fmt.Sprintf("%s has %v of %v", described.ClientID, has, wanted)
		}
		for _, member := range g.Members {
			if member.ID == described.MemberID && fmt.Sprint(member.Owned) != fmt.Sprint(has) {
				return fmt.Sprintf("%s believes to have %v, not %v", member.Name, member.Owned, has)
			}
		}
		for _, own := range has {
			for _, p := range own.Partitions {
				at := fmt.Sprintf("%s-%d", own.Topic, p)
				if owners[at] != "" {
					return fmt.Sprintf("%s has two owners, %s and %s", at, owners[at], described.ClientID)
				}
				owners[at] = described.ClientID
			}
		}
	}
	missing := -len(owners)
	for _, topic := range g.Wants {
		missing += int(g.n[topic])
	}
	if missing != 0 {
		return fmt.Sprintf("%d partitions have no owner", missing)
	}
	return ""
}

func ownedIn(assignment kmsg.Assignment) []owned {
	all := []owned{}
	for _, topic := range assignment.TopicPartitions {
		all = append(all, owned{fmt.Sprintf("%x", topic.TopicID), topic.Partitions})
	}
	return sorted(all)
}

// depart takes a member out, for good or, if it is static, for a while.
func (g *modernGroup) depart(ctx context.Context, bootstrap string, member *modernMember, epoch int32) error {
	it := *member
	it.Epoch = epoch
	response, err := g.heartbeat(ctx, bootstrap, &it)
	if err == nil && response.ErrorCode != 0 {
		err = fmt.Errorf("%s leaves %s: %s", member.Name, g.Name, codeName(response.ErrorCode))
	}
	g.Members = slices.DeleteFunc(g.Members, func(m *modernMember) bool { return m == member })
	return err
}

// resume is what members see who have slept while the broker was exchanged.
func (g *modernGroup) resume(ctx context.Context, bootstrap string, say func(string, ...any)) error {
	var all error
	answer := func(what string, member modernMember) {
		response, err := g.heartbeat(ctx, bootstrap, &member)
		if err != nil {
			all = errors.Join(all, err)
			return
		}
		if response.ErrorCode != 0 {
			say("%s: %s: %s", g.Name, what, codeName(response.ErrorCode))
			return
		}
		has := "no assignment"
		if response.Assignment != nil {
			has = fmt.Sprintf("the same partitions %t", fmt.Sprint(ownedOf(response.Assignment)) == fmt.Sprint(member.Owned))
		}
		say("%s: %s: epochs on %d, %s, every %d ms", g.Name, what, response.MemberEpoch-member.Epoch, has, response.HeartbeatIntervalMillis)
	}
	for _, member := range g.Members {
		it := *member
		answer(it.Name, it)
		it.Epoch++
		answer(it.Name+", an epoch early", it)
		it = *member
		it.ID = "somebody-else"
		answer(it.Name+" under another id", it)
		if it.Instance != "" {
			it.Epoch, it.Owned = 0, nil
			answer(it.Name+", its instance taken by another", it)
		}
	}
	return all
}
