package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What an administrator has ruled: quotas, settings of every kind of resource, levels of features. Each round changes some of it.

const byDefault = "<default>"

// The quotas, first and after an odd round. The witness is no exception to the defaults: they are wide.
var quotas = []struct {
	entity       string
	first, later map[string]float64
}{
	{"user=alice", map[string]float64{"producer_byte_rate": 1048576, "consumer_byte_rate": 2097152, "request_percentage": 12.5}, map[string]float64{"producer_byte_rate": 1048577, "request_percentage": 0.25}},
	{"user=" + byDefault, map[string]float64{"request_percentage": 10000}, map[string]float64{"request_percentage": 20000}},
	{"client-id=mill", map[string]float64{"consumer_byte_rate": 777}, nil},
	{"client-id=" + byDefault, map[string]float64{"producer_byte_rate": 1e12}, map[string]float64{"producer_byte_rate": 2e12, "controller_mutation_rate": 1e6}},
	{"user=bob,client-id=mill", map[string]float64{"controller_mutation_rate": 0.5}, map[string]float64{"controller_mutation_rate": 1.5}},
	{"user=bob,client-id=" + byDefault, map[string]float64{"producer_byte_rate": 5}, map[string]float64{"consumer_byte_rate": 6}},
	{"user=" + byDefault + ",client-id=mill", map[string]float64{"producer_byte_rate": 99}, nil},
	{"user=" + byDefault + ",client-id=" + byDefault, map[string]float64{"producer_byte_rate": 3e12}, map[string]float64{"producer_byte_rate": 4e12}},
	{"user=ANONYMOUS,client-id=" + limited, map[string]float64{"producer_byte_rate": 50_000}, map[string]float64{"producer_byte_rate": 40_000}},
	{"ip=10.1.2.3", map[string]float64{"connection_creation_rate": 7}, map[string]float64{"connection_creation_rate": 8}},
	{"ip=" + byDefault, map[string]float64{"connection_creation_rate": 100_000}, nil},
}

// The client that has to wait.
const limited = "limited"

type setting struct {
	kind kmsg.ConfigResourceType
	name string
	// An empty value takes the setting away.
	first, later map[string]string
}

var settings = []setting{
	{kmsg.ConfigResourceTypeTopic, "desk", map[string]string{"retention.ms": "1234567890", "cleanup.policy": "compact,delete", "max.message.bytes": "1300000"}, map[string]string{"retention.ms": "", "segment.ms": "900000"}},
	{kmsg.ConfigResourceTypeBroker, "1", map[string]string{"log.segment.bytes": "400000000", "num.io.threads": "5", "log.cleaner.threads": "2"}, map[string]string{"num.io.threads": "", "log.retention.ms": "987654321"}},
	{kmsg.ConfigResourceTypeBroker, "", map[string]string{"message.max.bytes": "1400000", "log.retention.ms": "876543210", "max.connections.per.ip.overrides": "10.1.2.3:4"}, map[string]string{"message.max.bytes": "1450000", "log.cleaner.backoff.ms": "14000"}},
	{kmsg.ConfigResourceTypeGroupConfig, "m-steady", map[string]string{"consumer.heartbeat.interval.ms": "7000", "consumer.session.timeout.ms": "1700000"}, map[string]string{"consumer.heartbeat.interval.ms": "8000"}},
	{kmsg.ConfigResourceTypeGroupConfig, "nobody-yet", map[string]string{"share.auto.offset.reset": "earliest", "streams.num.standby.replicas": "1"}, map[string]string{"streams.num.standby.replicas": ""}},
	{kmsg.ConfigResourceTypeGroupConfig, "for a while", map[string]string{"consumer.session.timeout.ms": "46000"}, map[string]string{"consumer.session.timeout.ms": ""}},
	{kmsg.ConfigResourceTypeClientMetrics, "watch", map[string]string{"interval.ms": "12000", "metrics": "org.apache.kafka.consumer.,org.apache.kafka.producer.", "match": "client_id=.*,client_source_address=127.*"}, map[string]string{"interval.ms": "", "match": ""}},
	{kmsg.ConfigResourceTypeClientMetrics, "glance", map[string]string{"interval.ms": "5000"}, nil},
}

// rule gives the rules of a round; those of the first one anew after an even one, so that each broker sets and takes away.
func rule(ctx context.Context, client *kgo.Client, round int) error {
	for _, quota := range quotas {
		wanted, unwanted := quota.first, quota.later
		if round%2 == 1 {
			wanted, unwanted = quota.later, quota.first
		}
		if err := alterQuota(ctx, client, quota.entity, wanted, unwanted); err != nil {
			return err
		}
	}
	for _, s := range settings {
		wanted := s.first
		if round%2 == 1 {
			wanted = s.later
		}
		if len(wanted) == 0 {
			continue
		}
		if err := alterSettings(ctx, client, s.kind, s.name, wanted); err != nil {
			return err
		}
	}
	const up, safelyDown = 1, 2
	if round%2 == 1 {
		return raise(ctx, client, "transaction.version", 2, up)
	}
	return raise(ctx, client, "transaction.version", 1, safelyDown)
}

func alterQuota(ctx context.Context, client *kgo.Client, entity string, wanted, unwanted map[string]float64) error {
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	for _, part := range strings.Split(entity, ",") {
		kind, name, _ := strings.Cut(part, "=")
		it := kmsg.NewAlterClientQuotasRequestEntryEntity()
		it.Type = kind
		if name != byDefault {
			it.Name = &name
		}
		entry.Entity = append(entry.Entity, it)
	}
	add := func(key string, value float64, remove bool) {
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Value, op.Remove = key, value, remove
		entry.Ops = append(entry.Ops, op)
	}
	for key, value := range wanted {
		add(key, value, false)
	}
	for key := range unwanted {
		if _, isWanted := wanted[key]; !isWanted {
			add(key, 0, true)
		}
	}
	request := kmsg.NewPtrAlterClientQuotasRequest()
	request.Entries = append(request.Entries, entry)
	response, err := ask[*kmsg.AlterClientQuotasResponse](ctx, client, request)
	if err != nil {
		return err
	}
	for _, answered := range response.Entries {
		if answered.ErrorCode != 0 {
			return fmt.Errorf("quota of %s: %s %s", entity, codeName(answered.ErrorCode), text(answered.ErrorMessage))
		}
	}
	return nil
}

func alterSettings(ctx context.Context, client *kgo.Client, kind kmsg.ConfigResourceType, name string, wanted map[string]string) error {
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kind, name
	for key, value := range wanted {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name = key
		if config.Op = kmsg.IncrementalAlterConfigOpDelete; value != "" {
			config.Op, config.Value = kmsg.IncrementalAlterConfigOpSet, &value
		}
		resource.Configs = append(resource.Configs, config)
	}
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = append(request.Resources, resource)
	response, err := ask[*kmsg.IncrementalAlterConfigsResponse](ctx, client, request)
	if err != nil {
		return err
	}
	for _, answered := range response.Resources {
		if answered.ErrorCode != 0 {
			return fmt.Errorf("settings of %s %s: %s %s", kind, name, codeName(answered.ErrorCode), text(answered.ErrorMessage))
		}
	}
	return nil
}

// raise brings a feature to a level.
func raise(ctx context.Context, client *kgo.Client, feature string, level int16, direction int8) error {
	request := kmsg.NewPtrUpdateFeaturesRequest()
	update := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	update.Feature, update.MaxVersionLevel, update.UpgradeType = feature, level, direction
	request.TimeoutMillis, request.FeatureUpdates = 30_000, append(request.FeatureUpdates, update)
	response, err := ask[*kmsg.UpdateFeaturesResponse](ctx, client, request)
	if err != nil {
		return err
	}
	code, message := response.ErrorCode, response.ErrorMessage
	for _, result := range response.Results {
		if result.ErrorCode != 0 {
			code, message = result.ErrorCode, result.ErrorMessage
		}
	}
	if code != 0 {
		return fmt.Errorf("%s to %d: %s %s", feature, level, codeName(code), text(message))
	}
	return nil
}

// throttled notes the longest wait that a broker has imposed.
type throttled struct{ longest atomic.Int64 }

func (t *throttled) OnBrokerThrottle(_ kgo.BrokerMetadata, wait time.Duration, _ bool) {
	if int64(wait) > t.longest.Load() {
		t.longest.Store(int64(wait))
	}
}

// checkQuotas: the quota of one client id holds for it, and for nobody else.
func checkQuotas(ctx context.Context, bootstrap string) error {
	for _, name := range []string{limited, "unlimited"} {
		waits := &throttled{}
		producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ClientID(name), kgo.WithHooks(waits), kgo.DefaultProduceTopic("kitchen"),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
		if err != nil {
			return err
		}
		var records []*kgo.Record
		for range 8 {
			records = append(records, &kgo.Record{Value: make([]byte, 100_000)})
		}
		err = producer.ProduceSync(ctx, records...).FirstErr()
		producer.Close()
		if err != nil {
			return err
		}
		if wait := time.Duration(waits.longest.Load()); (wait > time.Second) != (name == limited) {
			return errors.New("client " + name + " has to wait " + wait.String())
		}
	}
	return nil
}
