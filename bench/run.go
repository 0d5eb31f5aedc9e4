package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// settings say how long and how much is measured.
type settings struct {
	Time      time.Duration `default:"2s" help:"How long each measurement lasts. (${default})"`
	Rounds    int           `default:"3" help:"How often all is measured; the median is reported. (${default})"`
	Megabytes int64         `default:"400" help:"How many MB the transfers of distance are. (${default})"`
	Tunnels   int           `default:"10000" help:"How many tunnels memory opens. (${default})"`
	Settle    time.Duration `default:"10s" help:"How long memory waits before it looks. (${default})"`
	Profile   string        `type:"path" placeholder:"DIR" help:"Where the halves write profiles of their CPU."`
}

// runCommand measures.
type runCommand struct {
	settings
	Figure []string `default:"${figures}" enum:"${figures}" help:"What to measure: ${default}."`
	Plots  string   `default:"docs/plots" type:"path" placeholder:"DIR" help:"Where to write plots; empty: nowhere. (docs/plots)"`
	System []string `default:"limit,perconnect,ferry" enum:"limit,perconnect,ferry" help:"Which systems: ${default}."`
}

// Run measures the systems in turn, and prints the table.
func (r *runCommand) Run() error {
	if r.Profile != "" {
		if err := os.MkdirAll(r.Profile, 0o755); err != nil {
			return err
		}
	}
	found, err := r.measure()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "the links")
	links, err := checks(found.figures, r.Time)
	if err != nil {
		return err
	}
	if err := found.print(os.Stdout, &r.settings, links); err != nil || r.Plots == "" {
		return err
	}
	return found.plot(r.Plots)
}

// measure takes turns between the systems within each round, so that what else
// goes on on the machine meets all of them.
func (r *runCommand) measure() (*results, error) {
	found := newResults(chosen(r.Figure), r.systems())
	for round := range r.Rounds {
		for _, f := range found.figures {
			for _, system := range found.systems {
				fmt.Fprintf(os.Stderr, "round %d of %d: %s of %s\n", round+1, r.Rounds, f.name, system)
				got, err := r.once(system, f)
				if err != nil {
					return nil, fmt.Errorf("%s of %s: %w", f.name, system, err)
				}
				found.add(f, system, got)
			}
		}
	}
	return found, nil
}

// once measures one figure of one system.
func (r *runCommand) once(system string, f *figure) (values, error) {
	b, err := newBed(&r.settings, system, f)
	if err != nil {
		return nil, err
	}
	defer b.end()
	return f.measure(b)
}

// systems returns those that were chosen, in the order of the table.
func (r *runCommand) systems() []string {
	return slices.DeleteFunc(slices.Clone(systems), func(s string) bool { return !slices.Contains(r.System, s) })
}
