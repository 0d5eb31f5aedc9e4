// Package mux carries many streams over one WebSocket.
//
// A [Link] turns a succession of WebSockets into one ordered byte stream: it
// numbers what it sends, keeps it until the peer has acknowledged it, gathers
// what is waiting into one message, judges by end-to-end pings whether the peer
// is alive, and goes on where it stopped when it is taken up on the next
// WebSocket. A [Session] runs yamux on a Link. [Dial] and an [Acceptor] make
// sessions, and take them up again:
//
//	session, err := mux.Dial(ctx, "wss://relay.example/v1/relay", mux.DialConfig{Token: token})
//	…
//	stream, err := session.Open()
//
// and, at the other end of it,
//
//	acceptor := mux.NewAcceptor(mux.AcceptConfig{})
//	…
//	session, resumed, err := acceptor.Accept(w, r, identity)
//	…
//	stream, err := session.Accept()
//
// The protocol is specified in proto/relay/v1/link.proto. This package knows
// nothing of tunnels, targets or CONNECT, and authenticates nobody: whoever
// calls Accept has done that.
package mux
