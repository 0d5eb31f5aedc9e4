package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/lmittmann/tint"
)

// cli is the command line. Each flag also has a variable: FERRY_ and its name.
type cli struct {
	Log logFlags `embed:""`

	Client     clientCommand     `cmd:"" help:"Run the proxy of a sandbox. Prints its URL when it is ready."`
	Run        runCommand        `cmd:"" help:"Run a command whose connections go through ferry."`
	Env        envCommand        `cmd:"" help:"Print the variables that lead tools to the running client."`
	Testserver testserverCommand `cmd:"" help:"Run the cloud endpoint. Prints its URL when it is ready."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
}

// logFlags say what goes to standard error.
type logFlags struct {
	LogFormat string `enum:"text,json" default:"text" help:"How to write the log: text or json."`
	LogLevel  string `enum:",debug,info,warn,error" default:"" help:"What to log: debug, info, warn or error. Default: info; warn for run."`
}

// logger returns the logger; level is what counts without --log-level.
func (f *logFlags) logger(level slog.Level) *slog.Logger {
	if f.LogLevel != "" {
		_ = level.UnmarshalText([]byte(f.LogLevel)) // kong has checked it
	}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewTextHandler(os.Stderr, &tint.Options{
		Level:      level,
		TimeFormat: time.TimeOnly,
		NoColor:    !terminal(os.Stderr),
	}))
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

type versionCommand struct{}

// Run prints the module's version and the commit, as far as the build knows them.
func (versionCommand) Run() error { //nolint:unparam // kong wants an error
	version, commit := "devel", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			version = v
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = " " + s.Value
			}
		}
	}
	fmt.Printf("ferry %s%s %s %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
