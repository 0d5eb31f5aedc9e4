package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"ferry/testserver"
)

type testserverCommand struct {
	tokenFlags
	Listen          string        `default:"127.0.0.1:8080" help:"Where clients connect. Anywhere but on loopback it takes a token. (${default})"`
	AllowPrivate    bool          `help:"Let tunnels reach private, loopback, link-local and metadata addresses."`
	TLSCert         string        `name:"tls-cert" placeholder:"FILE" help:"The certificate chain in PEM, for wss."`
	TLSKey          string        `name:"tls-key" placeholder:"FILE" help:"Its key in PEM."`
	TLSSelfSigned   string        `name:"tls-self-signed" placeholder:"DIR" help:"Serve wss with a certificate that is made in DIR; give clients --ca DIR/cert.pem."`
	DialTimeout     time.Duration `default:"10s" help:"How long resolving and connecting a target may take. (${default})"`
	MaxTunnels      int           `default:"16384" help:"How many tunnels one client may have open. (${default})"`
	Keepalive       time.Duration `default:"15s" help:"How long a session may be silent before it is probed. (${default})"`
	ResumeWindow    time.Duration `default:"60s" help:"How long a client whose WebSocket was lost may take to come back to its tunnels. (${default})"`
	MaxDetached     int           `default:"1024" help:"How many such clients are waited for. (${default})"`
	MaxDetachedEach int           `default:"64" help:"How many of them may have one token. (${default})"`
	ReplayBuffer    byteSize      `default:"32MiB" help:"How much a session may have sent that its client has not acknowledged. (${default})"`
	Chaos           chaosFlag     `placeholder:"FAULTS" help:"Misbehave on purpose: drop=5s,freeze=30s/3s,latency=40ms,rate=20mbit, any of them."`
	DrainTimeout    time.Duration `default:"30s" help:"How long open tunnels may finish after SIGTERM. (${default})"`
}

// Run serves until SIGINT or SIGTERM.
func (t *testserverCommand) Run(flags *logFlags) error {
	log := flags.logger(slog.LevelInfo)
	token, err := t.read()
	if err != nil {
		return err
	}
	listener, scheme, err := t.listen(token)
	if err != nil {
		return err
	}
	server := testserver.New(testserver.Config{
		Token: token, AllowPrivate: t.AllowPrivate, DialTimeout: t.DialTimeout,
		MaxTunnels: t.MaxTunnels, Keepalive: t.Keepalive, Log: log,
		ResumeWindow: t.window(), MaxDetached: t.MaxDetached, MaxDetachedEach: t.MaxDetachedEach, ReplayBuffer: int(t.ReplayBuffer),
		DrainTimeout: t.DrainTimeout, OnCalm: tidy(),
	})
	defer t.onNewToken(log, func() { t.reload(log, server) })()
	fmt.Printf("%s://%s\n", scheme, listener.Addr())
	return untilSignal(log, func(ctx context.Context) error {
		return t.serve(ctx, server, listener)
	}, func() { _ = server.Close() })
}

// serve serves until ctx ends, and lets tunnels finish then.
func (t *testserverCommand) serve(ctx context.Context, server *testserver.Server, l net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	// The listener stays open, so that a load balancer learns from /healthz.
	grace, cancel := context.WithTimeout(context.Background(), t.DrainTimeout)
	defer cancel()
	_ = server.Shutdown(grace) // its error says only that the time was up
	return <-served
}

// window is the resume window; on the command line 0 means none.
func (t *testserverCommand) window() time.Duration {
	if t.ResumeWindow == 0 {
		return -1
	}
	return t.ResumeWindow
}

// reload lets in whoever has the token that the file holds now.
func (t *testserverCommand) reload(log *slog.Logger, server *testserver.Server) {
	token, err := t.read()
	if err != nil {
		log.Error("the old token stays good", "reason", err)
		return
	}
	if token != "" {
		server.SetTokens(token)
	}
}

// listen opens the socket, with TLS if that is asked for.
func (t *testserverCommand) listen(token string) (l net.Listener, scheme string, err error) {
	address, err := net.ResolveTCPAddr("tcp", t.Listen)
	if err != nil {
		return nil, "", usageError{fmt.Errorf("bad --listen: %w", err)}
	}
	if token == "" && !address.IP.IsLoopback() {
		return nil, "", usageError{fmt.Errorf("%s is not loopback: whoever can reach it could use it; set --token-file", t.Listen)}
	}
	config, err := t.tls(address.IP)
	if err != nil {
		return nil, "", err
	}
	if l, err = net.ListenTCP("tcp", address); err != nil {
		return nil, "", err
	}
	l = t.Chaos.listener(l)
	if config == nil {
		return l, "ws", nil
	}
	return tls.NewListener(l, config), "wss", nil
}

// tls returns nil if no certificate is given.
func (t *testserverCommand) tls(ip net.IP) (*tls.Config, error) {
	var pair tls.Certificate
	var err error
	switch {
	case (t.TLSCert == "") != (t.TLSKey == ""):
		return nil, usageError{errors.New("--tls-cert and --tls-key go together")}
	case t.TLSCert != "" && t.TLSSelfSigned != "":
		return nil, usageError{errors.New("both --tls-cert and --tls-self-signed are given; one will do")}
	case t.TLSCert != "":
		pair, err = tls.LoadX509KeyPair(t.TLSCert, t.TLSKey)
	case t.TLSSelfSigned != "":
		pair, err = selfSigned(t.TLSSelfSigned, ip)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("no certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}, nil
}
