package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// The measures of a plot, in pixels. The bars of a row are to its own scale.
const (
	plotTop    = 44  // where the first row begins
	rowTitle   = 24  // from a row's title to its first bar
	barStep    = 20  // from one bar to the next
	rowGap     = 18  // behind the last one
	longestBar = 420 // of the largest value
)

//go:embed plot.svg
var plotSVG string

var plotTemplate = template.Must(template.New("plot").Parse(plotSVG))

// plot is one SVG: for each row of a figure a bar for each system.
type plot struct {
	Title, How string
	Height     int
	Rows       []plotRow
}

type plotRow struct {
	Title, Required string
	Y               int
	Bars            []bar
}

type bar struct {
	System, Value string
	Y, Width      int
}

// plot writes the plot of each figure into a folder.
func (r *results) plot(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, f := range r.figures {
		if err := r.plotOf(f).write(filepath.Join(folder, f.name+".svg")); err != nil {
			return fmt.Errorf("can't plot %s: %w", f.name, err)
		}
	}
	return nil
}

func (p plot) write(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := plotTemplate.Execute(f, p); err != nil {
		return err
	}
	return f.Close()
}

// plotOf lays the rows of a figure out from top to bottom.
func (r *results) plotOf(f *figure) plot {
	p := plot{Title: f.name, How: f.how, Height: plotTop}
	for _, w := range f.rows {
		p.Rows = append(p.Rows, r.plotRow(f, w, p.Height))
		p.Height += rowTitle + len(r.systems)*barStep + rowGap
	}
	return p
}

func (r *results) plotRow(f *figure, w row, y int) plotRow {
	medians := r.medians(f, w)
	most := 0.0
	for _, value := range medians {
		most = max(most, value)
	}
	out := plotRow{Title: w.name, Y: y, Required: verdict(w.required, medians)}
	for i, system := range r.systems {
		out.Bars = append(out.Bars, bar{
			System: system,
			Value:  short(medians[system]) + " " + w.unit,
			Y:      rowTitle + 12 + i*barStep,
			Width:  int(longestBar * max(medians[system], 0) / max(most, 1e-9)),
		})
	}
	return out
}
