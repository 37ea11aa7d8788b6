// Attack asks a broker what it makes of hostile transactions, request by request, and compares each answer with that of Apache Kafka.
//
// The cases are in cases/, one story a file; README.md says how they are written. Any broker will do: --bootstrap HOST:PORT.
package main

import (
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

//go:embed cases/*.txt
var written embed.FS

func main() {
	bootstrap := flag.String("bootstrap", "localhost:9092", "HOST:PORT of the broker")
	restart := flag.String("restart", "", "a shell command that stops the broker and starts it again; HOW says by which signal: TERM or KILL")
	only := flag.String("only", "", "only the cases whose names begin with one of these words")
	learn := flag.String("learn", "", "write the answers into the case files of this folder instead of comparing them")
	verbose := flag.Bool("verbose", false, "print every step")
	all := flag.Bool("all", false, "a case that is skipped is a failure")
	set := flag.String("set", "", "NAME=VALUE,...: settings of the broker that it does not tell itself")
	flag.Parse()
	cases, err := read(*learn)
	if err != nil {
		fail(err)
	}
	broker := &broker{bootstrap: *bootstrap, restart: *restart}
	if broker.settings, err = settingsOf(*bootstrap); err != nil {
		fail(fmt.Errorf("%s cannot be asked: %w", *bootstrap, err))
	}
	for _, word := range strings.Split(*set, ",") {
		if name, value, isSetting := strings.Cut(word, "="); isSetting {
			broker.settings[name] = value
		}
	}
	fmt.Printf("| case | requests | differ | what |\n|---|---|---|---|\n")
	var said []string
	nSteps, nDiffer, nArgued, nSkipped := 0, 0, 0, 0
	for _, it := range cases {
		if !isMeant(it.name, *only) {
			continue
		}
		if why := it.lacks(broker); why != "" {
			fmt.Printf("| %s | - | skipped | %s |\n", it.name, why)
			nSkipped++
			continue
		}
		began := time.Now()
		differences, err := it.tell(broker, *verbose)
		if err != nil {
			fail(fmt.Errorf("%s: %w", it.name, err))
		}
		if *learn != "" {
			if err := it.write(filepath.Join(*learn, it.name+".txt")); err != nil {
				fail(err)
			}
			differences = nil
		}
		fmt.Printf("| %s | %d | %d | %s |\n", it.name, it.nSteps(), len(differences), it.title)
		if *verbose {
			fmt.Fprintf(os.Stderr, "%s: %.1f s\n", it.name, time.Since(began).Seconds())
		}
		nSteps += it.nSteps()
		if it.argued != "" {
			nArgued += len(differences)
			if len(differences) > 0 {
				said = append(said, fmt.Sprintf("- %s, argued: %s", it.name, it.argued))
			}
			continue
		}
		said = append(said, differences...)
		nDiffer += len(differences)
	}
	fmt.Printf("\n%d requests and looks, %d answers differ, %d more for a reason, %d cases skipped\n", nSteps, nDiffer, nArgued, nSkipped)
	for _, line := range said {
		fmt.Println(line)
	}
	if nDiffer > 0 || nSteps == 0 || *all && nSkipped > 0 {
		os.Exit(1)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "attack:", err)
	os.Exit(2)
}

func isMeant(name, only string) bool {
	if only == "" {
		return true
	}
	for _, word := range strings.FieldsFunc(only, func(r rune) bool { return r == ' ' || r == ',' }) {
		if strings.HasPrefix(name, word) {
			return true
		}
	}
	return false
}

// read parses the cases that are part of this program, or those of a folder.
func read(folder string) ([]*story, error) {
	files := fs.FS(written)
	pattern := "cases/*.txt"
	if folder != "" {
		files, pattern = os.DirFS(folder), "*.txt"
	}
	names, err := fs.Glob(files, pattern)
	if err != nil {
		return nil, err
	}
	var cases []*story
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		it, err := parse(strings.TrimSuffix(filepath.Base(name), ".txt"), string(text))
		if err != nil {
			return nil, err
		}
		cases = append(cases, it)
	}
	return cases, nil
}
