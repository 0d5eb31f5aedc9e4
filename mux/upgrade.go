package mux

import (
	"crypto/rand"
	"net/http"
	"slices"

	"github.com/gorilla/websocket"
)

// Upgrade makes a session of a request whose sender has been authenticated. If
// it returns an error, the request has been answered. The endpoint serves no
// browser, so a request from a page (with an Origin) is refused.
func Upgrade(w http.ResponseWriter, r *http.Request, c Config) (*Session, error) {
	c = c.withDefaults()
	if !slices.Contains(websocket.Subprotocols(r), subprotocol) {
		err := &HandshakeError{Status: http.StatusBadRequest, Detail: "this endpoint speaks the WebSocket subprotocol " + subprotocol + " only"}
		http.Error(w, err.Detail, err.Status)
		return nil, err
	}
	id := rand.Text() // 130 random bits
	ws, err := upgrader.Upgrade(w, r, sessionHeader(id))
	if err != nil {
		return nil, err
	}
	return newSession(id, ws, c, accepted)
}

var upgrader = websocket.Upgrader{
	HandshakeTimeout: handshakeTimeout,
	Subprotocols:     []string{subprotocol},
	WriteBufferSize:  writeBufferSize,
	WriteBufferPool:  writeBuffers,
	CheckOrigin:      func(r *http.Request) bool { return r.Header.Get("Origin") == "" },
}
