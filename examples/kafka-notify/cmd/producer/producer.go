// The producer takes notifications by HTTP (POST /send) and writes them to Kafka.
package main

import (
	"crypto/rand"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/IBM/sarama"
	"github.com/gin-gonic/gin"

	"kafka-notify/pkg/models"
)

const port = ":8080"

func newProducer(broker string) (sarama.SyncProducer, error) {
	config := sarama.NewConfig()
	config.ClientID = "notify-producer"
	config.Producer.Return.Successes = true
	// A retry after a lost answer must not write the notification twice.
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	// Long enough for a broker to be restarted meanwhile.
	config.Producer.Retry.Max = 60
	config.Producer.Retry.Backoff = 500 * time.Millisecond
	config.Metadata.Retry.Max = 60
	config.Metadata.Retry.Backoff = 500 * time.Millisecond
	return sarama.NewSyncProducer([]string{broker}, config)
}

func formUser(ctx *gin.Context, field string) (models.User, bool) {
	id, err := strconv.Atoi(ctx.PostForm(field))
	user, found := models.FindUser(id)
	if err != nil || !found {
		ctx.JSON(http.StatusNotFound, gin.H{"message": field + " names nobody"})
	}
	return user, err == nil && found
}

func send(producer sarama.SyncProducer) gin.HandlerFunc {
	return func(ctx *gin.Context) {
		from, ok := formUser(ctx, "fromID")
		if !ok {
			return
		}
		to, ok := formUser(ctx, "toID")
		if !ok {
			return
		}
		notification := models.Notification{ID: rand.Text(), From: from, To: to, Message: ctx.PostForm("message")}
		value, err := json.Marshal(notification)
		if err != nil {
			ctx.JSON(http.StatusInternalServerError, gin.H{"message": err.Error()})
			return
		}
		partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: models.Topic, Key: sarama.StringEncoder(strconv.Itoa(to.ID)), Value: sarama.ByteEncoder(value),
		})
		if err != nil {
			ctx.JSON(http.StatusInternalServerError, gin.H{"message": err.Error()})
			return
		}
		log.Printf("sent partition=%d offset=%d id=%s to=%d", partition, offset, notification.ID, to.ID)
		ctx.JSON(http.StatusOK, gin.H{"message": "notification sent", "id": notification.ID})
	}
}

func main() {
	broker := "localhost:9092"
	if given := os.Getenv("KAFKA_BROKER"); given != "" {
		broker = given
	}
	producer, err := newProducer(broker)
	if err != nil {
		log.Fatalf("no producer: %v", err)
	}
	defer producer.Close()

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.POST("/send", send(producer))
	log.Printf("the producer listens on http://localhost%s", port)
	log.Fatal(router.Run(port))
}
