package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The facts of a picture for which there are no words in an admin client, or too few.
var rareFacts = []func(context.Context, *kgo.Client, func(string, ...any)) error{
	featureFacts, resourceFacts, quotaFacts, memberFacts, transactionFacts, producerFacts,
}

func featureFacts(ctx context.Context, client *kgo.Client, say func(string, ...any)) error {
	request := kmsg.NewPtrApiVersionsRequest()
	request.ClientSoftwareName, request.ClientSoftwareVersion = "witness", "1"
	response, err := ask[*kmsg.ApiVersionsResponse](ctx, client, request)
	if err != nil {
		return err
	}
	for _, feature := range response.FinalizedFeatures {
		say("feature %s=%d", feature.Name, feature.MaxVersionLevel)
	}
	return kerr.ErrorForCode(response.ErrorCode)
}

// resourceFacts: which resources have settings, and those of groups and of clients' metrics.
func resourceFacts(ctx context.Context, client *kgo.Client, say func(string, ...any)) error {
	listed, err := ask[*kmsg.ListConfigResourcesResponse](ctx, client, kmsg.NewPtrListConfigResourcesRequest())
	if err != nil {
		return err
	}
	if listed.ErrorCode != 0 {
		return fmt.Errorf("ListConfigResources: %s", codeName(listed.ErrorCode))
	}
	request := kmsg.NewPtrDescribeConfigsRequest()
	for _, resource := range listed.ConfigResources {
		kind := kmsg.ConfigResourceType(resource.Type)
		say("resource %s %q", kind, resource.Name)
		if kind == kmsg.ConfigResourceTypeGroupConfig || kind == kmsg.ConfigResourceTypeClientMetrics {
			asked := kmsg.NewDescribeConfigsRequestResource()
			asked.ResourceType, asked.ResourceName = kind, resource.Name
			request.Resources = append(request.Resources, asked)
		}
	}
	response, err := ask[*kmsg.DescribeConfigsResponse](ctx, client, request)
	if err != nil {
		return err
	}
	for _, resource := range response.Resources {
		if resource.ErrorCode != 0 {
			return fmt.Errorf("settings of %s %s: %s", resource.ResourceType, resource.ResourceName, codeName(resource.ErrorCode))
		}
		for _, config := range resource.Configs {
			if config.Source == kmsg.ConfigSourceGroupConfig || config.Source == kmsg.ConfigSourceClientMetricsConfig {
				say("setting %s %q %s=%s (%v)", resource.ResourceType, resource.ResourceName, config.Name, text(config.Value), config.Source)
			}
		}
	}
	return nil
}

func text(value *string) string {
	if value == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *value)
}

func quotaFacts(ctx context.Context, client *kgo.Client, say func(string, ...any)) error {
	request := kmsg.NewPtrDescribeClientQuotasRequest()
	response, err := ask[*kmsg.DescribeClientQuotasResponse](ctx, client, request)
	if err != nil {
		return err
	}
	for _, entry := range response.Entries {
		var parts []string
		for _, part := range entry.Entity {
			parts = append(parts, part.Type+"="+text(part.Name))
		}
		slices.Sort(parts)
		for _, value := range entry.Values {
			say("quota %s %s=%v", strings.Join(parts, ","), value.Key, value.Value)
		}
	}
	return kerr.ErrorForCode(response.ErrorCode)
}

// memberFacts: all that is known of every group, whichever protocol its members speak.
func memberFacts(ctx context.Context, client *kgo.Client, say func(string, ...any)) error {
	listed, err := ask[*kmsg.ListGroupsResponse](ctx, client, kmsg.NewPtrListGroupsRequest())
	if err != nil {
		return err
	}
	if listed.ErrorCode != 0 {
		return fmt.Errorf("ListGroups: %s", codeName(listed.ErrorCode))
	}
	for _, group := range listed.Groups {
		say("listed group %s protocol=%q type=%s state=%s", group.Group, group.ProtocolType, group.GroupType, group.GroupState)
		if group.GroupType == "consumer" {
			err = consumerGroupFacts(ctx, client, group.Group, say)
		} else {
			err = classicGroupFacts(ctx, client, group.Group, say)
		}
		if err != nil {
			return fmt.Errorf("group %s: %w", group.Group, err)
		}
	}
	return nil
}

func classicGroupFacts(ctx context.Context, client *kgo.Client, name string, say func(string, ...any)) error {
	request := kmsg.NewPtrDescribeGroupsRequest()
	request.Groups = []string{name}
	response, err := ask[*kmsg.DescribeGroupsResponse](ctx, client, request)
	if err != nil {
		return err
	}
	for _, group := range response.Groups {
		if group.ErrorCode != 0 {
			return kerr.ErrorForCode(group.ErrorCode)
		}
		say("classic group %s state=%s protocol type=%q protocol=%q members=%d", name, group.State, group.ProtocolType, group.Protocol, len(group.Members))
		for _, member := range group.Members {
			say("classic member %s %s instance=%s client=%q host=%s metadata=%x assignment=%x", name, member.MemberID, text(member.InstanceID),
				member.ClientID, member.ClientHost, member.ProtocolMetadata, member.MemberAssignment)
		}
	}
	return nil
}

func describeConsumerGroup(ctx context.Context, client *kgo.Client, name string) (group kmsg.ConsumerGroupDescribeResponseGroup, err error) {
	request := kmsg.NewPtrConsumerGroupDescribeRequest()
	request.Groups = []string{name}
	response, err := ask[*kmsg.ConsumerGroupDescribeResponse](ctx, client, request)
	if err != nil {
		return group, err
	}
	if len(response.Groups) != 1 {
		return group, fmt.Errorf("ConsumerGroupDescribe says nothing of %s", name)
	}
	return response.Groups[0], kerr.ErrorForCode(response.Groups[0].ErrorCode)
}

func consumerGroupFacts(ctx context.Context, client *kgo.Client, name string, say func(string, ...any)) error {
	group, err := describeConsumerGroup(ctx, client, name)
	if err != nil {
		return err
	}
	say("consumer group %s state=%s epoch=%d assignment epoch=%d assignor=%s members=%d", name, group.State, group.Epoch, group.AssignmentEpoch,
		group.AssignorName, len(group.Members))
	for _, member := range group.Members {
		slices.Sort(member.SubscribedTopics)
		say("consumer member %s %s type=%d instance=%s rack=%s epoch=%d client=%q host=%s topics=%v pattern=%s has %s is to have %s", name,
			member.MemberID, member.MemberType, text(member.InstanceID), text(member.RackID), member.MemberEpoch, member.ClientID, member.ClientHost,
			member.SubscribedTopics, text(member.SubscribedTopicRegex), shareOf(member.Assignment), shareOf(member.TargetAssignment))
	}
	return nil
}

func shareOf(assignment kmsg.Assignment) string {
	var parts []string
	for _, topic := range assignment.TopicPartitions {
		slices.Sort(topic.Partitions)
		parts = append(parts, fmt.Sprintf("%s(%x)%v", topic.Topic, topic.TopicID, topic.Partitions))
	}
	slices.Sort(parts)
	return "[" + strings.Join(parts, " ") + "]"
}

func describeTransaction(ctx context.Context, client *kgo.Client, id string) (state kmsg.DescribeTransactionsResponseTransactionState, err error) {
	request := kmsg.NewPtrDescribeTransactionsRequest()
	request.TransactionalIDs = []string{id}
	response, err := ask[*kmsg.DescribeTransactionsResponse](ctx, client, request)
	if err != nil {
		return state, err
	}
	if len(response.TransactionStates) != 1 {
		return state, fmt.Errorf("DescribeTransactions says nothing of %s", id)
	}
	return response.TransactionStates[0], nil
}

func transactionFacts(ctx context.Context, client *kgo.Client, say func(string, ...any)) error {
	listed, err := ask[*kmsg.ListTransactionsResponse](ctx, client, kmsg.NewPtrListTransactionsRequest())
	if err != nil {
		return err
	}
	if listed.ErrorCode != 0 {
		return fmt.Errorf("ListTransactions: %s", codeName(listed.ErrorCode))
	}
	for _, transaction := range listed.TransactionStates {
		say("listed transaction %s producer=%d state=%s", transaction.TransactionalID, transaction.ProducerID, transaction.TransactionState)
		state, err := describeTransaction(ctx, client, transaction.TransactionalID)
		if err != nil {
			return err
		}
		if state.ErrorCode != 0 {
			return fmt.Errorf("transaction %s: %s", transaction.TransactionalID, codeName(state.ErrorCode))
		}
		say("transaction %s", transactionText(state))
	}
	return nil
}

func transactionText(state kmsg.DescribeTransactionsResponseTransactionState) string {
	var parts []string
	for _, topic := range state.Topics {
		slices.Sort(topic.Partitions)
		parts = append(parts, fmt.Sprintf("%s%v", topic.Topic, topic.Partitions))
	}
	slices.Sort(parts)
	return fmt.Sprintf("%s state=%s producer=%d epoch=%d time-out=%d start=%d partitions=%v", state.TransactionalID, state.State, state.ProducerID,
		state.ProducerEpoch, state.TimeoutMillis, state.StartTimestamp, parts)
}

// producerFacts: what each partition knows of its producers, and how far its transactions are settled.
func producerFacts(ctx context.Context, client *kgo.Client, say func(string, ...any)) error {
	asked := kmsg.NewPtrMetadataRequest()
	asked.Topics = nil // All of them.
	metadata, err := ask[*kmsg.MetadataResponse](ctx, client, asked)
	if err != nil {
		return err
	}
	producers, stable := kmsg.NewPtrDescribeProducersRequest(), kmsg.NewPtrListOffsetsRequest()
	stable.ReplicaID, stable.IsolationLevel = -1, 1
	for _, topic := range metadata.Topics {
		if topic.IsInternal {
			continue
		}
		ofTopic, ends := kmsg.NewDescribeProducersRequestTopic(), kmsg.NewListOffsetsRequestTopic()
		ofTopic.Topic, ends.Topic = *topic.Topic, *topic.Topic
		for _, p := range topic.Partitions {
			end := kmsg.NewListOffsetsRequestTopicPartition()
			end.Partition, end.Timestamp = p.Partition, -1
			ofTopic.Partitions, ends.Partitions = append(ofTopic.Partitions, p.Partition), append(ends.Partitions, end)
		}
		producers.Topics, stable.Topics = append(producers.Topics, ofTopic), append(stable.Topics, ends)
	}
	// A log that is still being opened has no leader yet.
	active, err := again(func() (*kmsg.DescribeProducersResponse, error) {
		active, err := ask[*kmsg.DescribeProducersResponse](ctx, client, producers)
		if err != nil {
			return nil, err
		}
		for _, topic := range active.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return nil, fmt.Errorf("producers of %s-%d: %s", topic.Topic, p.Partition, codeName(p.ErrorCode))
				}
			}
		}
		return active, nil
	})
	if err != nil {
		return err
	}
	for _, topic := range active.Topics {
		for _, p := range topic.Partitions {
			for _, producer := range p.ActiveProducers {
				say("producer of %s-%d id=%d epoch=%d sequence=%d at=%d coordinator=%d open from=%d", topic.Topic, p.Partition, producer.ProducerID,
					producer.ProducerEpoch, producer.LastSequence, producer.LastTimestamp, producer.CoordinatorEpoch, producer.CurrentTxnStartOffset)
			}
		}
	}
	ends, err := again(func() (*kmsg.ListOffsetsResponse, error) {
		ends, err := ask[*kmsg.ListOffsetsResponse](ctx, client, stable)
		if err != nil {
			return nil, err
		}
		for _, topic := range ends.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return nil, fmt.Errorf("the stable end of %s-%d: %s", topic.Topic, p.Partition, codeName(p.ErrorCode))
				}
			}
		}
		return ends, nil
	})
	if err != nil {
		return err
	}
	for _, topic := range ends.Topics {
		for _, p := range topic.Partitions {
			say("stable %s-%d end=%d", topic.Topic, p.Partition, p.Offset)
		}
	}
	return nil
}
