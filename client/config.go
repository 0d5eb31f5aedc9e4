package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"
)

// relayPath is where an endpoint serves sessions.
const relayPath = "/v1/relay"

// Config says where the endpoint is, and how the proxy behaves. The zero value
// of each field but URL means its default. A Config is copied, never changed.
type Config struct {
	// URL is the endpoint: ws, wss, http or https. Without a path it gets
	// /v1/relay.
	URL string
	// Fallbacks are further endpoints, tried in turn while others can't be
	// reached.
	Fallbacks []string
	// Token is the bearer token to present. None by default.
	Token string
	// TokenSource, if not nil, is asked for the token instead, each time the
	// endpoint is dialed.
	TokenSource func() (string, error)
	// TLS is used for wss. The system's roots by default.
	TLS *tls.Config
	// Listen is the proxy's address. 127.0.0.1:0 by default, a free port; see
	// ProxyURL.
	Listen string
	// ConnectWait is how long a CONNECT waits for a session when there is none.
	// 10 s by default.
	ConnectWait time.Duration
	// MaxWaiting is how many CONNECTs may wait so; more are refused at once.
	// 1024 by default.
	MaxWaiting int
	// EarlyOpen says whether a CONNECT waits until its target is connected.
	// EarlyOpenAuto by default.
	EarlyOpen EarlyOpen
	// Grace is how long Run lets open tunnels finish after its context has
	// ended. None by default.
	Grace time.Duration
	// ReplayBuffer is how many bytes the session may have sent that the endpoint
	// has not acknowledged. 32 MiB by default.
	ReplayBuffer int
	// Keepalive is how long the session may be silent before the endpoint is
	// asked for a sign of life. 15 s by default.
	Keepalive time.Duration
	// OnCalm is called when a session's tunnels have moved data, and then none has
	// for a second: a good time to give memory back ([runtime/debug.FreeOSMemory]).
	// Nothing by default.
	OnCalm func()
	// Log gets what happens to the session, and tunnels that fail. Nothing by
	// default.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.ConnectWait <= 0 {
		c.ConnectWait = 10 * time.Second
	}
	if c.MaxWaiting <= 0 {
		c.MaxWaiting = 1024
	}
	if c.EarlyOpen == "" {
		c.EarlyOpen = EarlyOpenAuto
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// endpoints checks the URLs.
func (c *Config) endpoints() ([]string, error) {
	var urls []string
	for _, raw := range append([]string{c.URL}, c.Fallbacks...) {
		u, err := endpointURL(raw)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	return urls, nil
}

// endpointURL checks the URL and brings it into the form ws(s)://host/path.
func endpointURL(raw string) (string, error) {
	if raw == "" {
		return "", errors.New("no endpoint URL; give one such as wss://relay.example")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("bad endpoint URL: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("bad endpoint URL %q: it must begin with ws://, wss://, http:// or https://", u.Redacted())
	}
	if u.Hostname() == "" {
		return "", fmt.Errorf("bad endpoint URL %q: it names no host", u.Redacted())
	}
	if u.User != nil {
		return "", fmt.Errorf("bad endpoint URL %q: give the token with --token-file, not in the URL", u.Redacted())
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = relayPath
	}
	return u.String(), nil
}

// token returns the token of the moment.
func (c *Config) token() (string, error) {
	if c.TokenSource == nil {
		return c.Token, nil
	}
	return c.TokenSource()
}
