package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// Longer than any answer takes; a broker that does not answer is a difference, too.
	answerWithin = 30 * time.Second
	// Nothing that is asked for here is near it: more means that the frame was misread.
	largestAnswer = 64 << 20

	transactionCoordinator = int8(1)
	groupCoordinator       = int8(0)
)

// errHungUp: the broker closed the connection instead of answering.
var errHungUp = errors.New("HUNG UP")

// cluster is the way to whom a request is meant for. Each broker has one connection, so that requests arrive in the order of the story.
type cluster struct {
	bootstrap string
	lines     map[string]*line
	routes    map[string]string // From what a request is about to the broker's address.
}

func newCluster(bootstrap string) *cluster {
	return &cluster{bootstrap: bootstrap, lines: map[string]*line{}, routes: map[string]string{}}
}

// forget is for after a restart, and when somebody else leads.
func (c *cluster) forget() {
	for address, l := range c.lines {
		_ = l.conn.Close()
		delete(c.lines, address)
	}
	clear(c.routes)
}

func (c *cluster) ask(address string, request kmsg.Request) (kmsg.Response, error) {
	l := c.lines[address]
	if l == nil {
		conn, err := net.DialTimeout("tcp", address, answerWithin)
		if err != nil {
			return nil, err
		}
		l = &line{conn: conn}
		c.lines[address] = l
	}
	response, err := l.ask(request)
	if err != nil {
		_ = l.conn.Close()
		delete(c.lines, address)
	}
	return response, err
}

// any asks the broker that was named.
func (c *cluster) any(request kmsg.Request) (kmsg.Response, error) {
	return c.ask(c.bootstrap, request)
}

// coordinator asks the broker that coordinates a transactional id or a group; where none does, the one that was named.
func (c *cluster) coordinator(kind int8, key string, request kmsg.Request) (kmsg.Response, error) {
	route := fmt.Sprintf("coordinator %d %s", kind, key)
	if _, known := c.routes[route]; !known && key != "" {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.Version, find.CoordinatorType, find.CoordinatorKey = 3, kind, key
		answer, err := c.any(find)
		if err != nil {
			return nil, err
		}
		if found := answer.(*kmsg.FindCoordinatorResponse); found.ErrorCode == 0 {
			c.routes[route] = net.JoinHostPort(found.Host, strconv.Itoa(int(found.Port)))
		}
	}
	return c.ask(c.route(route), request)
}

// leader asks the broker that leads a partition; where none does, the one that was named.
func (c *cluster) leader(at place, request kmsg.Request) (kmsg.Response, error) {
	route := fmt.Sprintf("leader %s %d", at.topic, at.partition)
	if _, known := c.routes[route]; !known {
		if err := c.findLeaders(at.topic); err != nil {
			return nil, err
		}
	}
	return c.ask(c.route(route), request)
}

func (c *cluster) route(route string) string {
	if address, known := c.routes[route]; known {
		return address
	}
	return c.bootstrap
}

func (c *cluster) findLeaders(topic string) error {
	request := kmsg.NewPtrMetadataRequest()
	request.Version = 9
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &topic
	request.Topics = append(request.Topics, asked)
	answer, err := c.any(request)
	if err != nil {
		return err
	}
	metadata := answer.(*kmsg.MetadataResponse)
	addresses := map[int32]string{}
	for _, broker := range metadata.Brokers {
		addresses[broker.NodeID] = net.JoinHostPort(broker.Host, strconv.Itoa(int(broker.Port)))
	}
	for _, found := range metadata.Topics {
		for _, partition := range found.Partitions {
			if address, known := addresses[partition.Leader]; known {
				c.routes[fmt.Sprintf("leader %s %d", topic, partition.Partition)] = address
			}
		}
	}
	return nil
}

// line is a connection on which question follows question.
type line struct {
	conn net.Conn
	id   int32
}

func (l *line) ask(request kmsg.Request) (kmsg.Response, error) {
	l.id++
	if err := l.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return nil, err
	}
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("attack")).AppendRequest(nil, request, l.id)
	if _, err := l.conn.Write(frame); err != nil {
		return nil, errors.Join(errHungUp, err)
	}
	var size [4]byte
	if _, err := io.ReadFull(l.conn, size[:]); err != nil {
		return nil, errors.Join(errHungUp, err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > largestAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(l.conn, body); err != nil {
		return nil, errors.Join(errHungUp, err)
	}
	if id := int32(binary.BigEndian.Uint32(body)); id != l.id {
		return nil, fmt.Errorf("the answer is to request %d, not to %d", id, l.id)
	}
	body = body[4:]
	response := request.ResponseKind()
	if response.IsFlexible() {
		// No broker sends a tagged field in the header of an answer.
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("tagged fields in the header of an answer")
		}
		body = body[1:]
	}
	if err := response.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	return response, nil
}

// nameOf is what Kafka calls an error code.
func nameOf(code int16) string {
	if code == 0 {
		return "ok"
	}
	var known *kerr.Error
	if errors.As(kerr.ErrorForCode(code), &known) && known.Code == code {
		return known.Message
	}
	return strconv.Itoa(int(code))
}

// settingsOf asks a broker how it is set up: some cases need short times.
func settingsOf(bootstrap string) (map[string]string, error) {
	c := newCluster(bootstrap)
	defer c.forget()
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version, metadata.Topics = 9, []kmsg.MetadataRequestTopic{}
	answer, err := c.any(metadata)
	if err != nil {
		return nil, err
	}
	brokers := answer.(*kmsg.MetadataResponse).Brokers
	if len(brokers) == 0 {
		return nil, errors.New("it knows no broker")
	}
	request := kmsg.NewPtrDescribeConfigsRequest()
	request.Version = 4
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(brokers[0].NodeID))
	request.Resources = append(request.Resources, resource)
	if answer, err = c.any(request); err != nil {
		return nil, err
	}
	settings := map[string]string{"node.id": resource.ResourceName}
	for _, resource := range answer.(*kmsg.DescribeConfigsResponse).Resources {
		for _, it := range resource.Configs {
			if it.Value != nil {
				settings[it.Name] = *it.Value
			}
		}
	}
	return settings, nil
}
