// SPDX-License-Identifier: Apache-2.0

// Goroutines, channels, timers, panics, the garbage collector, files, and net/http as server and
// client, in one program.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

func goroutines() {
	numbers, squares := make(chan int), make(chan int)
	var workers sync.WaitGroup
	for i := 0; i < 50; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for n := range numbers {
				squares <- n * n
			}
		}()
	}
	go func() {
		for n := 1; n <= 10000; n++ {
			numbers <- n
		}
		close(numbers)
		workers.Wait()
		close(squares)
	}()
	sum := 0
	for n := range squares {
		sum += n
	}
	fmt.Println("squares", sum)
}

func timers() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	ticks := 0
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for done := ctx.Done(); done != nil || ticks < 3; {
		select {
		case <-ticker.C:
			ticks++
		case <-done:
			done = nil
		}
	}
	fmt.Println("ticked", ctx.Err())
}

func panics() {
	defer func() { fmt.Println("recovered:", recover()) }()
	var nothing *[]int
	fmt.Println(len(*nothing)) // by SIGSEGV
}

// Each preempts a loop without calls, by SIGURG.
func preemption() {
	done := make(chan bool)
	spinning := true
	go func() {
		time.Sleep(10 * time.Millisecond)
		done <- true
	}()
	old := runtime.GOMAXPROCS(1)
	go func() {
		for spinning {
		}
	}()
	<-done
	spinning = false
	runtime.GOMAXPROCS(old)
	fmt.Println("preempted")
}

func garbage() {
	var kept [][]byte
	for i := 0; i < 20000; i++ {
		block := make([]byte, 4096)
		block[i%4096] = byte(i)
		if i%1000 == 0 {
			kept = append(kept, block)
		}
	}
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("kept", len(kept), stats.NumGC > 0)
}

func signals() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println("signal", <-got)
}

func files() error {
	if err := os.MkdirAll("tree/deep", 0o750); err != nil {
		return err
	}
	for i := 0; i < 10; i++ {
		name := fmt.Sprintf("tree/deep/%d", i)
		if err := os.WriteFile(name, []byte(strings.Repeat("x", i*100)), 0o600); err != nil {
			return err
		}
	}
	var names []string
	err := filepath.Walk("tree", func(path string, info os.FileInfo, err error) error {
		names = append(names, fmt.Sprintf("%s:%d", path, info.Size()*int64(1-b2i(info.IsDir()))))
		return err
	})
	sort.Strings(names)
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	fmt.Printf("%d names, %x\n", len(names), sum[:4])
	_, missing := os.Open("nothing")
	fmt.Println(missing, errors.Is(missing, os.ErrNotExist))
	return err
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func handler(stop func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s\n", r.URL.Query().Get("name"))
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		out := bufio.NewWriter(w)
		for i := 0; i < 50000; i++ {
			fmt.Fprintf(out, "line %d\n", i)
		}
		out.Flush()
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "length": len(body)})
	})
	mux.HandleFunc("/quit", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "bye")
		go stop()
	})
	return mux
}

func serve(address string) {
	server := &http.Server{}
	stopped := make(chan bool)
	server.Handler = handler(func() {
		server.Shutdown(context.Background())
		close(stopped)
	})
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		log.Fatal(err)
	}
	server.Serve(listener)
	<-stopped // the last replies are out
	fmt.Println("served")
}

func client() error {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(func() {})}
	go server.Serve(listener)
	base := "http://" + listener.Addr().String()
	var group sync.WaitGroup
	lengths := make([]int, 20)
	for i := range lengths {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			reply, err := http.Get(base + fmt.Sprintf("/hello?name=%d", i*100))
			if err != nil {
				log.Print(err)
				return
			}
			defer reply.Body.Close()
			body, _ := io.ReadAll(reply.Body)
			lengths[i] = len(body)
		}(i)
	}
	group.Wait()
	fmt.Println("replies", lengths)
	return server.Close()
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		serve(os.Args[2])
		return
	}
	goroutines()
	timers()
	panics()
	preemption()
	garbage()
	signals()
	if err := files(); err != nil {
		log.Fatal(err)
	}
	if len(os.Args) > 1 && os.Args[1] == "net" {
		if err := client(); err != nil {
			log.Fatal(err)
		}
	}
	os.Exit(5)
}
