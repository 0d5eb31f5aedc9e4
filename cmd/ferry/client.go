package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"ferry/client"
)

// clientFlags are those of client and run.
type clientFlags struct {
	tokenFlags
	URL          []string      `name:"url" placeholder:"URL" help:"The endpoint: ws, wss, http or https; /v1/relay if it has no path. Further ones are tried in turn."`
	CA           string        `name:"ca" placeholder:"FILE" help:"A PEM file of certificates to trust beside the system's."`
	Listen       string        `default:"127.0.0.1:0" help:"Where tools connect; port 0 takes a free one. (${default})"`
	ConnectWait  time.Duration `default:"10s" help:"How long a CONNECT waits while there is no session. (${default})"`
	MaxWaiting   int           `default:"1024" help:"How many CONNECTs may wait so. (${default})"`
	EarlyOpen    string        `enum:"auto,always,never" default:"auto" help:"Whether a CONNECT is answered before its target is connected: auto, if that connected in the last 10 minutes; always; never. (${default})"`
	Grace        time.Duration `default:"10s" help:"How long open tunnels may finish after SIGTERM. (${default})"`
	Keepalive    time.Duration `default:"15s" help:"How long the session may be silent before it is probed. (${default})"`
	ReplayBuffer byteSize      `default:"32MiB" help:"How much the session may have sent that the endpoint has not acknowledged. (${default})"`
}

// start makes the client.
func (f *clientFlags) start(log *slog.Logger) (*client.Client, error) {
	if _, err := f.read(); err != nil {
		return nil, err
	}
	trust, err := trusted(f.CA)
	if err != nil {
		return nil, err
	}
	if len(f.URL) == 0 {
		f.URL = []string{""}
	}
	c, err := client.New(client.Config{
		URL: f.URL[0], Fallbacks: f.URL[1:], TokenSource: f.read, TLS: trust,
		Listen: f.Listen, ConnectWait: f.ConnectWait, MaxWaiting: f.MaxWaiting,
		EarlyOpen: client.EarlyOpen(f.EarlyOpen),
		Grace:     f.Grace, Keepalive: f.Keepalive, ReplayBuffer: int(f.ReplayBuffer), Log: log, OnCalm: tidy(),
	})
	var network *net.OpError
	if err != nil && !errors.As(err, &network) {
		return nil, usageError{err}
	}
	return c, err
}

// trusted returns the system's roots and those in a file.
func trusted(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("can't read the certificates to trust: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, usageError{fmt.Errorf("%s holds no certificate in PEM", file)}
	}
	return &tls.Config{RootCAs: roots}, nil
}

type clientCommand struct {
	clientFlags
	State string `placeholder:"FILE" help:"Where to note the URL for ferry env. Default: in the user's cache directory."`
}

// Run runs the proxy until SIGINT or SIGTERM.
func (c *clientCommand) Run(flags *logFlags) error {
	log := flags.logger(slog.LevelInfo)
	one, err := c.start(log)
	if err != nil {
		return err
	}
	note := state{path: c.State}
	if err := note.write(one.ProxyURL()); err != nil {
		log.Warn("ferry env will not find this client", "reason", err)
	}
	defer note.remove(one.ProxyURL())
	fmt.Println(one.ProxyURL())
	defer c.onNewToken(log, one.Renew)()
	return untilSignal(log, one.Run, func() { _ = one.Close() })
}

// untilSignal calls run with a context that the first SIGINT or SIGTERM ends,
// and closes what runs at the second.
func untilSignal(log *slog.Logger, run func(context.Context) error, closeNow func()) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals, stop := notify()
	defer stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for _, react := range []func(){cancel, closeNow} {
			select {
			case s := <-signals:
				log.Info("shutting down", "signal", s.String())
				react()
			case <-done:
				return
			}
		}
	}()
	return run(ctx)
}
