// Package models holds what producer and consumer say to each other.
package models

// Topic is where notifications travel; its records are keyed by the recipient's id, so that each user's stay in order.
const Topic = "notifications"

// User is somebody who sends and receives.
type User struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// Notification is one message from one user to another.
type Notification struct {
	ID      string `json:"id"`
	From    User   `json:"from"`
	To      User   `json:"to"`
	Message string `json:"message"`
}

// Users are the people of this example.
var Users = []User{{1, "Ada"}, {2, "Berk"}, {3, "Chiara"}, {4, "Divya"}}

// FindUser looks somebody up.
func FindUser(id int) (User, bool) {
	for _, user := range Users {
		if user.ID == id {
			return user, true
		}
	}
	return User{}, false
}
