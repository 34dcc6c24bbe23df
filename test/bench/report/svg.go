// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"html"
	"strings"
)

// Measures of the plot, in pixels.
const (
	plotWidth   = 900
	labelWidth  = 250
	valueWidth  = 130
	barHeight   = 18
	barGap      = 5
	groupGap    = 40
	plotMargin  = 24
	titleHeight = 50
)

// colours by peer; Weir's stand out.
func colour(peer string) string {
	switch {
	case peer == Weir, peer == Leased:
		return "#0b6e99"
	case strings.HasPrefix(peer, Weir):
		return "#7db8d1"
	}
	return "#b5b5b5"
}

// plotted is a group of bars, and bar one of them.
type plotted struct {
	title string
	bars  []bar
}

type bar struct {
	name  string
	value Spread
}

// SVG is a plot of the CPU time per request.
func (r Report) SVG() string {
	var out []plotted
	for _, s := range r.Sections {
		group := plotted{title: s.Title}
		for _, l := range s.Lines {
			group.bars = append(group.bars, bar{l.Peer, l.of(cpu)})
		}
		out = append(out, group)
	}
	return plot("CPU time of the proxy per request, µs: median, least and most of the rounds", out)
}

// plot draws a bar for each median and a line from the least to the most.
func plot(title string, groups []plotted) string {
	var most float64
	height := titleHeight + plotMargin
	for _, g := range groups {
		for _, l := range g.bars {
			most = max(most, l.value.Max)
		}
		height += groupGap + len(g.bars)*(barHeight+barGap)
	}
	scale := 0.0
	if most > 0 {
		scale = float64(plotWidth-labelWidth-valueWidth-plotMargin) / most
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="%d" y="32" font-size="17" font-weight="bold" fill="#222222">%s</text>
`, plotWidth, height, plotMargin, html.EscapeString(title))
	y := titleHeight
	for _, g := range groups {
		y += groupGap
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-weight="bold" fill="#222222">%s</text>`+"\n", plotMargin, y-12, html.EscapeString(g.title))
		for _, l := range g.bars {
			l.draw(&b, y, scale)
			y += barHeight + barGap
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (l bar) draw(b *strings.Builder, y int, scale float64) {
	c := l.value
	middle := float64(y) + barHeight/2
	at := func(v float64) float64 { return labelWidth + v*scale }
	fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end" fill="#222222">%s</text>`, labelWidth-8, middle+4.5, html.EscapeString(l.name))
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, labelWidth, y, c.Median*scale, barHeight, colour(l.name))
	fmt.Fprintf(b, `<path d="M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8" stroke="#222222" fill="none"/>`,
		at(c.Min), middle, at(c.Max), at(c.Min), middle-4, at(c.Max), middle-4)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="#222222">%.1f</text>`+"\n", at(c.Max)+8, middle+4.5, c.Median)
}
