package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"syscall"

	"ferry/client"
	"ferry/testserver"
)

// The exit statuses of a command that could not be run, as shells have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // and the number of the signal
)

type runCommand struct {
	clientFlags
	AllowPrivate bool     `help:"Without --url: let the test server reach private and loopback addresses."`
	Command      []string `arg:"" passthrough:"" help:"The command and its arguments, after --."`
}

// Run runs the client, and the command with the client's variables. Its exit
// status is the command's.
func (r *runCommand) Run(flags *logFlags) error {
	log := flags.logger(slog.LevelWarn)
	if len(r.Command) > 0 && r.Command[0] == "--" {
		r.Command = r.Command[1:]
	}
	if len(r.Command) == 0 {
		return usageError{errors.New("no command; write it behind --, as in: ferry run -- curl https://example.com")}
	}
	stop, err := r.ensureEndpoint(log)
	if err != nil {
		return err
	}
	defer stop()
	one, err := r.start(log)
	if err != nil {
		return err
	}
	defer r.onNewToken(log, one.Renew)()
	ran := make(chan error, 1)
	go func() { ran <- one.Run(context.Background()) }()
	err = r.execute(one)
	_ = one.Close()
	return errors.Join(err, <-ran)
}

// ensureEndpoint starts a test server in this process if no endpoint is given.
func (r *runCommand) ensureEndpoint(log *slog.Logger) (stop func(), err error) {
	if len(r.URL) > 0 {
		return func() {}, nil
	}
	endpoint, err := testserver.Start(testserver.Config{AllowPrivate: r.AllowPrivate, Log: log.With("half", "testserver")})
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "ferry: no --url given: using a test server inside this process")
	r.URL, r.Token, r.TokenFile = []string{endpoint.URL}, endpoint.Token, ""
	return func() { _ = endpoint.Close() }, nil
}

// execute runs the command to its end, and passes signals on to it.
func (r *runCommand) execute(one *client.Client) error {
	command := exec.Command(r.Command[0], r.Command[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = commandEnv(one.ProxyURL())
	signals, stop := notify()
	defer stop()
	if err := command.Start(); err != nil {
		return notStarted(r.Command[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	for {
		select {
		case s := <-signals:
			// A terminal sends SIGINT to the command itself.
			if s != syscall.SIGINT || !terminal(os.Stdin) {
				_ = command.Process.Signal(s)
			}
		case err := <-ended:
			return status(err)
		}
	}
}

// commandEnv is the environment of the command: the user's, but for the token,
// which is not the command's business, and with the variables of the proxy.
func commandEnv(proxy *url.URL) []string {
	_ = os.Unsetenv("FERRY_TOKEN")
	env := os.Environ()
	for _, v := range environment(proxy) {
		env = append(env, v.name+"="+v.value) // the last one counts
	}
	return env
}

// notStarted says why there is no command, as a shell would.
func notStarted(name string, err error) error {
	fmt.Fprintf(os.Stderr, "ferry: can't run %s: %v\n", name, err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitError(exitNotFound)
	}
	return exitError(exitNotExecutable)
}

// status turns the end of a command into ferry's own.
func status(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if wait, ok := exit.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return exitError(exitSignal + int(wait.Signal()))
	}
	return exitError(exit.ExitCode())
}
