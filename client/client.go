package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"ferry/wire"
)

// Client is a proxy and the session behind it. All methods may be called
// concurrently.
type Client struct {
	config    Config
	endpoints []string
	listener  net.Listener
	http      *http.Server
	sessions  sessions
	joiner    *wire.Joiner
	known     memory
	renew     chan struct{} // asks keepSession for a new session; holds one request

	stop     context.Context // ends when Close is called, or Run is about to return
	cancel   context.CancelFunc
	finished sync.WaitGroup // Run

	mu       sync.Mutex     // guards what follows
	stopped  bool           // no more handlers
	handlers sync.WaitGroup // that have taken a tool's connection over
}

// New checks the configuration and opens the listening socket, so that ProxyURL
// is valid and tools may connect; Run serves them. Without Run, call Close.
func New(config Config) (*Client, error) {
	config = config.withDefaults()
	endpoints, err := config.endpoints()
	if err != nil {
		return nil, err
	}
	if config.Token != "" && config.TokenSource != nil {
		return nil, errors.New("both a token and a source of tokens are given; one will do")
	}
	if err := config.EarlyOpen.check(); err != nil {
		return nil, err
	}
	listen := net.ListenConfig{KeepAlive: keepAlive(config.Listen)}
	listener, err := listen.Listen(context.Background(), "tcp", config.Listen)
	if err != nil {
		return nil, fmt.Errorf("can't listen for tools: %w", err)
	}
	c := &Client{config: config, endpoints: endpoints, listener: listener, known: newMemory(), renew: make(chan struct{}, 1)}
	c.stop, c.cancel = context.WithCancel(context.Background())
	c.http = &http.Server{
		Handler:        c.Handler(),
		MaxHeaderBytes: 2 * maxHead, // never reached: headConn is stricter
		ErrorLog:       slog.NewLogLogger(config.Log.Handler(), slog.LevelDebug),
	}
	c.sessions.init(config.MaxWaiting)
	c.joiner = wire.NewJoiner()
	return c, nil
}

// keepAlive is how often a tool is asked for a sign of life; 0 means the system's
// default. A tool on this machine is not asked at all: if it goes away, the system
// says so by itself.
func keepAlive(listen string) time.Duration {
	host, _, _ := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return -1
	}
	return 0
}

// ProxyURL returns what HTTPS_PROXY is to be set to: http://ADDRESS:PORT.
func (c *Client) ProxyURL() *url.URL {
	return &url.URL{Scheme: "http", Host: c.listener.Addr().String()}
}

// Run keeps a session up and serves the proxy until ctx ends or Close is called.
// When ctx ends it stops listening, lets open tunnels finish for Config.Grace,
// and cuts the rest. It returns nil then, and otherwise why it could not go on.
func (c *Client) Run(ctx context.Context) error {
	c.finished.Add(1)
	defer c.finished.Done()
	var working sync.WaitGroup
	working.Go(func() { c.keepSession(c.stop) })
	served := make(chan error, 1)
	working.Go(func() { served <- c.http.Serve(headListener{c.listener}) })

	var err error
	select {
	case err = <-served:
	case <-c.stop.Done():
	case <-ctx.Done():
		_ = c.listener.Close()
		c.awaitTunnels()
	}
	if c.stop.Err() != nil {
		err = nil // the listener was closed on purpose
	}
	c.cancel()
	_ = c.http.Close()
	c.awaitHandlers()
	working.Wait()
	_ = c.joiner.Close()
	return err
}

// awaitTunnels returns when no tunnel is open any more, or the grace is over, or
// Close is called.
func (c *Client) awaitTunnels() {
	ctx, cancel := context.WithTimeout(c.stop, c.config.Grace)
	defer cancel()
	for _, session := range c.sessions.all() {
		session.WaitIdle(ctx)
	}
}

// enter counts a handler in, unless the client is going away.
func (c *Client) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.handlers.Add(1)
	}
	return !c.stopped
}

// awaitHandlers waits for all handlers; their sessions are being closed.
func (c *Client) awaitHandlers() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.handlers.Wait()
}

// Close stops at once: open tunnels are cut, and their tools see a reset. It
// waits until Run has returned.
func (c *Client) Close() error {
	c.cancel()
	_ = c.listener.Close()
	c.finished.Wait()
	return c.joiner.Close()
}

// Renew moves to a new session, with the token of the moment: new tunnels use it
// as soon as it is there, and old ones finish on the old one.
func (c *Client) Renew() {
	select {
	case c.renew <- struct{}{}:
	default: // one is asked for already
	}
}

// DialContext opens a tunnel to a host:port; network is "tcp". It waits until the
// target is connected, whatever Config.EarlyOpen says. The connection also has
// CloseWrite. The error is a [*wire.RefusedError] if the endpoint could not
// connect to the target, or a [*NoSessionError] if there is no endpoint.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, fmt.Errorf("ferry can't dial network %q, only tcp", network)
	}
	target, err := parseTarget(address)
	if err != nil {
		return nil, fmt.Errorf("ferry can't dial %q: %w", address, err)
	}
	conn, err := c.open(ctx, target, false)
	if err != nil {
		return nil, err
	}
	return conn, nil
}
