package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// topic NAME [partitions=] [SETTING=VALUE]...: a topic whose partitions can be asked.
func createTopic(w *world, s *step) (string, int16, error) {
	name := w.id(s.word(0))
	n := int32(s.number("partitions", 2))
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Version, request.TimeoutMillis = 5, 30_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, n, 1
	for setting, value := range s.options {
		if setting != "partitions" {
			s.used[setting] = true
			config := kmsg.NewCreateTopicsRequestTopicConfig()
			config.Name, config.Value = setting, &value
			topic.Configs = append(topic.Configs, config)
		}
	}
	request.Topics = append(request.Topics, topic)
	answer, err := answered[*kmsg.CreateTopicsResponse](w.cluster.any(request))
	if err != nil {
		return "", 0, err
	}
	for _, topic := range answer.Topics {
		if topic.ErrorCode != 0 {
			return nameOf(topic.ErrorCode), topic.ErrorCode, nil
		}
	}
	return w.serves(name, n)
}

// serves waits until every partition answers.
func (w *world) serves(topic string, n int32) (string, int16, error) {
	for partition := range n {
		deadline := time.Now().Add(patience)
		for {
			w.cluster.forget()
			_, code, err := w.startOf(place{topic, partition})
			if err == nil && code == 0 {
				break
			}
			if time.Now().After(deadline) {
				return nameOf(code), code, err
			}
			time.Sleep(pause)
		}
	}
	return "ok", 0, nil
}

func deleteTopic(w *world, s *step) (string, int16, error) {
	name := w.id(s.word(0))
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.Version, request.TimeoutMillis, request.TopicNames = 5, 30_000, []string{name}
	answer, err := answered[*kmsg.DeleteTopicsResponse](w.cluster.any(request))
	if err != nil {
		return "", 0, err
	}
	for _, topic := range answer.Topics {
		return nameOf(topic.ErrorCode), topic.ErrorCode, nil
	}
	return "nothing", 0, nil
}

// delete-records PARTITION before=OFFSET.
func deleteRecords(w *world, s *step) (string, int16, error) {
	at, err := w.place(s.word(0))
	if err != nil {
		return "", 0, err
	}
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.Version, request.TimeoutMillis = 2, 30_000
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = at.topic
	asked := kmsg.NewDeleteRecordsRequestTopicPartition()
	asked.Partition, asked.Offset = at.partition, s.number("before", -1)
	topic.Partitions = append(topic.Partitions, asked)
	request.Topics = append(request.Topics, topic)
	answer, err := answered[*kmsg.DeleteRecordsResponse](w.cluster.leader(at, request))
	if err != nil {
		return "", 0, err
	}
	for _, topic := range answer.Topics {
		for _, it := range topic.Partitions {
			return nameOf(it.ErrorCode), it.ErrorCode, nil
		}
	}
	return "nothing", 0, nil
}

// restart [kill]: the command of --restart, and until all that the story has made answers again.
func restartBroker(w *world, s *step) (string, int16, error) {
	how := "TERM"
	if s.has("kill") {
		how = "KILL"
	}
	w.cluster.forget()
	command := exec.Command("sh", "-c", w.broker.restart)
	command.Env = append(os.Environ(), "HOW="+how)
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return "", 0, fmt.Errorf("the command of --restart: %w", err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		if _, err := settingsOf(w.broker.bootstrap); err == nil {
			break
		} else if time.Now().After(deadline) {
			return "", 0, errors.Join(errors.New("it does not answer after its restart"), err)
		}
	}
	for _, name := range s.words {
		if name == "kill" {
			continue
		}
		if answer, code, err := w.serves(w.id(name), 2); err != nil || code != 0 {
			return answer, code, err
		}
	}
	return "ok", 0, nil
}

// feature NAME LEVEL: UpdateFeatures, up or down.
func setFeature(w *world, s *step) (string, int16, error) {
	level, err := strconv.ParseInt(s.word(1), 10, 16)
	if err != nil {
		return "", 0, err
	}
	const upgrade, safeDowngrade = 1, 2
	var told int16
	// Whether it is up or down the broker knows best: it refuses the wrong one, and what is so already.
	for _, kind := range []int8{upgrade, safeDowngrade} {
		request := kmsg.NewPtrUpdateFeaturesRequest()
		request.Version, request.TimeoutMillis = 1, 30_000
		update := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		update.Feature, update.MaxVersionLevel, update.UpgradeType = s.word(0), int16(level), kind
		request.FeatureUpdates = append(request.FeatureUpdates, update)
		answer, err := answered[*kmsg.UpdateFeaturesResponse](w.cluster.any(request))
		if err != nil {
			return "", 0, err
		}
		told = answer.ErrorCode
		for _, result := range answer.Results {
			if told == 0 {
				told = result.ErrorCode
			}
		}
		if told == 0 {
			// Brokers learn of it a moment later.
			time.Sleep(500 * time.Millisecond)
			break
		}
	}
	return nameOf(told), told, nil
}

// config topic NAME SETTING=VALUE..., config broker SETTING=VALUE...: IncrementalAlterConfigs; the latter of the whole cluster.
func setConfig(w *world, s *step) (string, int16, error) {
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Version = 1
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType = kmsg.ConfigResourceTypeBroker
	if s.word(0) == "topic" {
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, w.id(s.word(1))
	}
	for name, value := range s.options {
		s.used[name] = true
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Op = name, kmsg.IncrementalAlterConfigOpSet
		if value == "default" {
			config.Op = kmsg.IncrementalAlterConfigOpDelete
		} else {
			config.Value = &value
		}
		resource.Configs = append(resource.Configs, config)
	}
	request.Resources = append(request.Resources, resource)
	answer, err := answered[*kmsg.IncrementalAlterConfigsResponse](w.cluster.any(request))
	if err != nil {
		return "", 0, err
	}
	for _, it := range answer.Resources {
		if it.ErrorCode == 0 {
			time.Sleep(500 * time.Millisecond)
		}
		return nameOf(it.ErrorCode), it.ErrorCode, nil
	}
	return "nothing", 0, nil
}

// wait MS.
func wait(_ *world, s *step) (string, int16, error) {
	ms, err := strconv.Atoi(s.word(0))
	time.Sleep(time.Duration(ms) * time.Millisecond)
	return "ok", 0, err
}

// join MEMBER GROUP [instance=]: a member of a classic group that is assigned nothing.
func joinGroup(w *world, s *step) (string, int16, error) {
	it := w.members[s.word(0)]
	if it == nil {
		it = &member{}
		w.members[s.word(0)] = it
	}
	if instance := s.option("instance", ""); instance != "" {
		it.instance = &instance
	}
	group := w.id(s.word(1))
	request := kmsg.NewPtrJoinGroupRequest()
	request.Version, request.Group, request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = 7, group, 30_000, 2_000
	request.MemberID, request.InstanceID, request.ProtocolType = it.id, it.instance, "attack"
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "none"
	request.Protocols = append(request.Protocols, protocol)
	const memberIDRequired = 79
	answer, err := answered[*kmsg.JoinGroupResponse](w.cluster.coordinator(groupCoordinator, group, request))
	if err == nil && answer.ErrorCode == memberIDRequired {
		request.MemberID = answer.MemberID
		answer, err = answered[*kmsg.JoinGroupResponse](w.cluster.coordinator(groupCoordinator, group, request))
	}
	if err != nil {
		return "", 0, err
	}
	if answer.ErrorCode != 0 {
		return nameOf(answer.ErrorCode), answer.ErrorCode, nil
	}
	it.id, it.generation = answer.MemberID, answer.Generation
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.Generation, sync.MemberID, sync.InstanceID = 3, group, it.generation, it.id, it.instance
	if answer.LeaderID == it.id {
		for _, member := range answer.Members {
			assigned := kmsg.NewSyncGroupRequestGroupAssignment()
			assigned.MemberID = member.MemberID
			sync.GroupAssignment = append(sync.GroupAssignment, assigned)
		}
	}
	synced, err := answered[*kmsg.SyncGroupResponse](w.cluster.coordinator(groupCoordinator, group, sync))
	if err != nil {
		return "", 0, err
	}
	if synced.ErrorCode != 0 {
		return nameOf(synced.ErrorCode), synced.ErrorCode, nil
	}
	return fmt.Sprintf("generation %d", it.generation), 0, nil
}
