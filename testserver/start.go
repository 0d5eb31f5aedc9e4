package testserver

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Endpoint is a running Server on a loopback port.
type Endpoint struct {
	*Server
	URL   string // ws://127.0.0.1:PORT/v1/relay
	Token string // what clients must present

	served sync.WaitGroup // Serve's goroutine
	err    error          // what it returned
}

// Start runs an endpoint on a loopback port that is free, as httptest runs a web
// server. If c has no token, it makes one up. Call Close when done with it.
func Start(c Config) (*Endpoint, error) {
	if c.Token == "" {
		c.Token = rand.Text()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("can't start an endpoint: %w", err)
	}
	e := &Endpoint{
		Server: New(c),
		URL:    "ws://" + l.Addr().String() + "/v1/relay",
		Token:  c.Token,
	}
	e.served.Go(func() { e.err = e.Serve(l) })
	return e, nil
}

// Close ends all sessions and tunnels, and waits until everything has ended.
func (e *Endpoint) Close() error {
	err := e.Server.Close()
	e.served.Wait()
	return errors.Join(err, e.err)
}
