package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members outlive their process, the broker and the exchange of brokers: nobody sends heartbeats for so long.
const (
	sessionMs   = 1_800_000
	rebalanceMs = 60_000
)

// classicMember speaks the classic protocol by hand. What it knows stays in a file between two brokers.
type classicMember struct {
	Name, Instance, ID string
	Generation         int32
	Share              []byte // What it was assigned.
}

type classicGroup struct {
	Name, Kind string   // The protocol type: "consumer" or another.
	Protocols  []string // What each member offers.
	Topics     []string
	Generation int32
	Members    []*classicMember
	n          map[string]int32 // Partitions of the topics.
}

func (g *classicGroup) metadata() []byte {
	if g.Kind != "consumer" {
		return []byte("opaque \x00\xff of " + g.Name)
	}
	it := kmsg.NewConsumerMemberMetadata()
	it.Version, it.Topics, it.Generation = 1, g.Topics, -1
	return it.AppendTo(nil)
}

// shares deals the partitions out.
func (g *classicGroup) shares(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	slices.SortFunc(members, func(a, b kmsg.JoinGroupResponseMember) int { return compare(a.MemberID, b.MemberID) })
	var all []kmsg.SyncGroupRequestGroupAssignment
	for n, member := range members {
		it := kmsg.NewSyncGroupRequestGroupAssignment()
		it.MemberID, it.MemberAssignment = member.MemberID, fmt.Appendf(nil, "share %d of %s", n, g.Name)
		if g.Kind == "consumer" {
			share := kmsg.NewConsumerMemberAssignment()
			for _, topic := range g.Topics {
				part := kmsg.NewConsumerMemberAssignmentTopic()
				part.Topic = topic
				for p := int32(n); p < g.n[topic]; p += int32(len(members)) {
					part.Partitions = append(part.Partitions, p)
				}
				share.Topics = append(share.Topics, part)
			}
			it.MemberAssignment = share.AppendTo(nil)
		}
		all = append(all, it)
	}
	return all
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// gather brings all members into one generation.
func (g *classicGroup) gather(ctx context.Context, bootstrap string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var lock sync.Mutex
	at := map[string]int32{}
	// Members report their generation, and go home when all are in the same.
	isTogether := func(member *classicMember) bool {
		lock.Lock()
		defer lock.Unlock()
		at[member.Name] = member.Generation
		for _, other := range g.Members {
			if at[other.Name] != member.Generation {
				return false
			}
		}
		return true
	}
	failures := make(chan error, len(g.Members))
	for _, member := range g.Members {
		go func() { failures <- g.attend(ctx, bootstrap, member, isTogether) }()
	}
	var all error
	for range g.Members {
		if err := <-failures; err != nil {
			all = errors.Join(all, fmt.Errorf("a member of %s: %w", g.Name, err))
			cancel()
		}
	}
	for _, member := range g.Members {
		g.Generation = max(g.Generation, member.Generation)
	}
	return all
}

// attend is the life of a member until the group is together.
func (g *classicGroup) attend(ctx context.Context, bootstrap string, member *classicMember, isTogether func(*classicMember) bool) error {
	client, err := speaker(bootstrap, member.Name, byName)
	if err != nil {
		return err
	}
	defer client.Close()
	if member.ID != "" {
		// It may be that nothing has changed for it.
		code, err := g.heartbeat(ctx, client, member)
		if err != nil {
			return err
		}
		if code == 0 && isTogether(member) {
			return nil
		}
	}
	for ctx.Err() == nil {
		if err := g.enter(ctx, client, member); err != nil {
			return err
		}
		for ctx.Err() == nil {
			code, err := g.heartbeat(ctx, client, member)
			if err != nil {
				return err
			}
			if kerr.ErrorForCode(code) == kerr.RebalanceInProgress {
				break
			}
			if code != 0 {
				return fmt.Errorf("heartbeat: %s", codeName(code))
			}
			if isTogether(member) {
				return nil
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return fmt.Errorf("it did not come together: %w", ctx.Err())
}

// enter joins and syncs, until it is in a generation.
func (g *classicGroup) enter(ctx context.Context, client *kgo.Client, member *classicMember) error {
	for {
		joined, err := g.join(ctx, client, member)
		if err != nil {
			return err
		}
		switch kerr.ErrorForCode(joined.ErrorCode) {
		case nil:
		case kerr.MemberIDRequired:
			member.ID = joined.MemberID
			continue
		case kerr.RebalanceInProgress:
			continue
		default:
			return fmt.Errorf("join: %s", codeName(joined.ErrorCode))
		}
		member.ID, member.Generation = joined.MemberID, joined.Generation
		synced, err := g.sync(ctx, client, member, joined)
		if err != nil {
			return err
		}
		switch kerr.ErrorForCode(synced.ErrorCode) {
		case nil:
			member.Share = synced.MemberAssignment
			return nil
		case kerr.RebalanceInProgress:
		default:
			return fmt.Errorf("sync: %s", codeName(synced.ErrorCode))
		}
	}
}

func (g *classicGroup) join(ctx context.Context, client *kgo.Client, member *classicMember) (*kmsg.JoinGroupResponse, error) {
	request := kmsg.NewPtrJoinGroupRequest()
	request.Group, request.MemberID, request.ProtocolType = g.Name, member.ID, g.Kind
	request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = sessionMs, rebalanceMs
	if member.Instance != "" {
		request.InstanceID = &member.Instance
	}
	for _, name := range g.Protocols {
		protocol := kmsg.NewJoinGroupRequestProtocol()
		protocol.Name, protocol.Metadata = name, g.metadata()
		request.Protocols = append(request.Protocols, protocol)
	}
	var response *kmsg.JoinGroupResponse
	_, err := settled("joining "+g.Name, func() (code int16, err error) {
		if response, err = ask[*kmsg.JoinGroupResponse](ctx, client, request); err == nil {
			code = response.ErrorCode
		}
		return code, err
	})
	return response, err
}

func (g *classicGroup) sync(ctx context.Context, client *kgo.Client, member *classicMember, joined *kmsg.JoinGroupResponse) (*kmsg.SyncGroupResponse, error) {
	request := kmsg.NewPtrSyncGroupRequest()
	request.Group, request.Generation, request.MemberID = g.Name, joined.Generation, joined.MemberID
	request.ProtocolType, request.Protocol = &g.Kind, joined.Protocol
	if member.Instance != "" {
		request.InstanceID = &member.Instance
	}
	if joined.LeaderID == joined.MemberID && !joined.SkipAssignment {
		request.GroupAssignment = g.shares(joined.Members)
	}
	return ask[*kmsg.SyncGroupResponse](ctx, client, request)
}

func (g *classicGroup) heartbeat(ctx context.Context, client *kgo.Client, member *classicMember) (int16, error) {
	return settled("a heartbeat", func() (int16, error) {
		request := kmsg.NewPtrHeartbeatRequest()
		request.Group, request.Generation, request.MemberID = g.Name, member.Generation, member.ID
		if member.Instance != "" {
			request.InstanceID = &member.Instance
		}
		response, err := ask[*kmsg.HeartbeatResponse](ctx, client, request)
		if err != nil {
			return 0, err
		}
		return response.ErrorCode, nil
	})
}

// leave takes members out: one by its id, a static one by its instance, as an administrator does.
func (g *classicGroup) leave(ctx context.Context, client *kgo.Client, leaving ...*classicMember) error {
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group = g.Name
	for _, member := range leaving {
		it := kmsg.NewLeaveGroupRequestMember()
		if it.MemberID = member.ID; member.Instance != "" {
			it.MemberID, it.InstanceID = "", &member.Instance
		}
		request.Members = append(request.Members, it)
	}
	response, err := ask[*kmsg.LeaveGroupResponse](ctx, client, request)
	if err != nil {
		return err
	}
	code := response.ErrorCode
	for _, member := range response.Members {
		code = max(code, member.ErrorCode)
	}
	if code != 0 {
		return fmt.Errorf("leaving %s: %s", g.Name, codeName(code))
	}
	g.Members = slices.DeleteFunc(g.Members, func(m *classicMember) bool { return slices.Contains(leaving, m) })
	return nil
}

// resume is what members see who have slept while the broker was exchanged: they go on, and strangers do not.
func (g *classicGroup) resume(ctx context.Context, client *kgo.Client, say func(string, ...any)) error {
	answer := func(what string, member classicMember) error {
		code, err := g.heartbeat(ctx, client, &member)
		say("%s: heartbeat of %s: %s", g.Name, what, codeName(code))
		return err
	}
	for _, member := range g.Members {
		it := *member
		err := answer(it.Name, it)
		it.Generation--
		err = errors.Join(err, answer(it.Name+", a generation late", it))
		it.Generation += 2
		err = errors.Join(err, answer(it.Name+", a generation early", it))
		it = *member
		it.ID = "somebody-else"
		err = errors.Join(err, answer(it.Name+" under another id", it))
		if err != nil {
			return err
		}
	}
	// A static member that starts anew gets its share again, and nobody else notices.
	for _, member := range g.Members {
		if member.Instance == "" {
			continue
		}
		before := *member
		member.ID = ""
		if err := g.enter(ctx, client, member); err != nil {
			return fmt.Errorf("%s comes back: %w", member.Name, err)
		}
		say("%s: %s came back, its id is new %t, generations on %d, has what it had %t", g.Name, member.Name, member.ID != before.ID,
			member.Generation-before.Generation, string(member.Share) == string(before.Share))
		if err := answer(member.Name+" as it was", before); err != nil {
			return err
		}
	}
	return nil
}
