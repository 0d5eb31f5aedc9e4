package testserver

import (
	"log/slog"
	"net"
	"time"
)

// Config says whom the endpoint serves, and how. The zero value of each field
// means its default. A Config is copied, never changed.
type Config struct {
	// Token is what a client must present. Empty: everybody is let in. See also
	// SetTokens.
	Token string
	// AllowPrivate lets tunnels lead to private, loopback, link-local, metadata
	// and other special addresses, which are refused by default.
	AllowPrivate bool
	// DialTimeout bounds resolving and connecting a target. 10 s by default.
	DialTimeout time.Duration
	// Resolver looks names up. The system's by default.
	Resolver *net.Resolver
	// MaxTunnels is how many tunnels one session may have open; more are refused
	// as connection_limit_reached. 16384 by default.
	MaxTunnels int
	// ResumeWindow is how long a session whose WebSocket was lost is kept for its
	// client to come back, in whole seconds. 60 s by default; negative: not at
	// all.
	ResumeWindow time.Duration
	// MaxDetached is how many such sessions are kept in all, and MaxDetachedEach
	// of one token. 1024 and 64 by default.
	MaxDetached, MaxDetachedEach int
	// ReplayBuffer is how many bytes a session may have sent that its client has
	// not acknowledged. 32 MiB by default.
	ReplayBuffer int
	// DrainTimeout is how long the tunnels of a session may go on after its token
	// was withdrawn. 30 s by default. (Shutdown is told by its context.)
	DrainTimeout time.Duration
	// Keepalive is how long a session may be silent before its client is asked
	// for a sign of life. 15 s by default.
	Keepalive time.Duration
	// OnCalm is called when a session's tunnels have moved data, and then none has
	// for a second: a good time to give memory back ([runtime/debug.FreeOSMemory]).
	// Nothing by default.
	OnCalm func()
	// Log gets a line for each tunnel and each session. Nothing by default.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.DialTimeout <= 0 {
		c.DialTimeout = 10 * time.Second
	}
	if c.MaxTunnels <= 0 {
		c.MaxTunnels = 16384
	}
	if c.DrainTimeout <= 0 {
		c.DrainTimeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
