// The consumer reads notifications as a Kafka consumer group and serves them by HTTP (GET /notifications/:userID).
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"github.com/gin-gonic/gin"

	"kafka-notify/pkg/models"
)

const (
	port  = ":8081"
	group = "notifications-group"
)

// store keeps each user's notifications, in the order of arrival.
type store struct {
	sync.RWMutex
	byUser map[int][]models.Notification
}

func (s *store) add(notification models.Notification) {
	s.Lock()
	defer s.Unlock()
	s.byUser[notification.To.ID] = append(s.byUser[notification.To.ID], notification)
}

func (s *store) of(user int) []models.Notification {
	s.RLock()
	defer s.RUnlock()
	return slices.Clone(s.byUser[user])
}

// handler is what Sarama calls for each partition of this member.
type handler struct{ store *store }

func (handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			var notification models.Notification
			if err := json.Unmarshal(message.Value, &notification); err != nil {
				log.Printf("skipped partition=%d offset=%d: %v", message.Partition, message.Offset, err)
			} else {
				log.Printf("received partition=%d offset=%d id=%s to=%d", message.Partition, message.Offset, notification.ID, notification.To.ID)
				h.store.add(notification)
			}
			session.MarkMessage(message, "")
			// At once, not by a timer: what was handed over must not come again after a crash. With more at hand, once for all.
			if len(claim.Messages()) == 0 {
				session.Commit()
				log.Printf("committed partition=%d offset=%d", message.Partition, message.Offset+1)
			}
		}
	}
}

func consume(ctx context.Context, broker string, h handler) {
	config := sarama.NewConfig()
	config.ClientID = "notify-consumer"
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Return.Errors = true
	// Sarama commits on the connection on which it fetches: a commit waits for the fetch before it.
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Metadata.Retry.Max = 60
	config.Metadata.Retry.Backoff = 500 * time.Millisecond
	member, err := sarama.NewConsumerGroup([]string{broker}, group, config)
	if err != nil {
		log.Fatalf("no consumer group: %v", err)
	}
	defer member.Close()
	go func() {
		for err := range member.Errors() {
			log.Printf("group: %v", err)
		}
	}()
	for ctx.Err() == nil {
		// Returns at each rebalance and when the broker is away: then join again.
		if err := member.Consume(ctx, []string{models.Topic}, h); err != nil {
			log.Printf("consume: %v", err)
			time.Sleep(500 * time.Millisecond)
		}
	}
}

func main() {
	broker := "localhost:9092"
	if given := os.Getenv("KAFKA_BROKER"); given != "" {
		broker = given
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kept := &store{byUser: map[int][]models.Notification{}}
	left := make(chan struct{})
	go func() {
		defer close(left)
		consume(ctx, broker, handler{kept})
	}()

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.GET("/notifications/:userID", func(c *gin.Context) {
		id, err := strconv.Atoi(c.Param("userID"))
		if _, found := models.FindUser(id); err != nil || !found {
			c.JSON(http.StatusNotFound, gin.H{"message": "nobody has that id"})
			return
		}
		c.JSON(http.StatusOK, gin.H{"notifications": kept.of(id)})
	})
	server := &http.Server{Addr: port, Handler: router}
	go func() {
		<-left // The group was left in order; only then the process ends.
		_ = server.Close()
	}()
	log.Printf("the consumer of group %s listens on http://localhost%s", group, port)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
