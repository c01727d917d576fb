// SPDX-License-Identifier: Apache-2.0
//! Threads, channels, locks, panics, files, sockets on the loopback, by Rust's standard library.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

fn channels() {
    let (sender, receiver) = mpsc::channel();
    let handles: Vec<_> = (0..4u64)
        .map(|id| {
            let sender = sender.clone();
            thread::spawn(move || {
                for i in 0..500 {
                    sender.send(id * 1000 + i).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    let sum: u64 = receiver.iter().sum();
    for handle in handles {
        handle.join().unwrap();
    }
    println!("channel sum {sum}");
}

fn locks() {
    let shared = Arc::new((Mutex::new(0u32), Condvar::new(), RwLock::new(HashMap::new())));
    let hits = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..4u32)
        .map(|id| {
            let shared = Arc::clone(&shared);
            let hits = Arc::clone(&hits);
            thread::Builder::new()
                .name(format!("worker-{id}"))
                .spawn(move || {
                    let (turn, changed, map) = &*shared;
                    for _ in 0..100 {
                        let mut held = changed.wait_while(turn.lock().unwrap(), |t| *t % 4 != id).unwrap();
                        *held += 1;
                        *map.write().unwrap().entry(id).or_insert(0) += 1;
                        hits.fetch_add(1, Ordering::Relaxed);
                        changed.notify_all();
                    }
                })
                .unwrap()
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    let map: BTreeMap<_, _> = shared.2.read().unwrap().iter().map(|(k, v)| (*k, *v)).collect();
    println!("hits {} map {map:?}", hits.load(Ordering::Relaxed));
}

fn panics() {
    let result = thread::spawn(|| {
        let empty: Vec<i32> = Vec::new();
        empty[std::env::args().count() + 6]
    })
    .join();
    println!("panicked: {}", result.is_err());
    let caught = std::panic::catch_unwind(|| "x".parse::<i32>().unwrap());
    println!("caught: {}", caught.is_err());
}

fn files() -> std::io::Result<()> {
    fs::create_dir_all("a/b")?;
    let mut file = fs::File::create("a/b/lines")?;
    for i in 0..1000 {
        writeln!(file, "line {i}")?;
    }
    file.sync_all()?;
    let total: usize = BufReader::new(fs::File::open("a/b/lines")?).lines().map(|l| l.unwrap().len()).sum();
    fs::rename("a/b/lines", "a/moved")?;
    std::os::unix::fs::symlink("a/moved", "link")?;
    let mut names: Vec<_> = fs::read_dir(".")?.map(|e| e.unwrap().file_name()).collect();
    names.sort();
    println!("{total} bytes, {names:?}, {:?}", fs::metadata("link")?.len());
    println!("{:?}", fs::File::open("nothing").map_err(|e| e.kind()).err());
    Ok(())
}

fn sockets() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(3) {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream.write_all(line.to_uppercase().as_bytes()).unwrap();
        }
    });
    for word in ["one", "two", "three"] {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        writeln!(stream, "{word}")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        print!("{reply}");
    }
    server.join().unwrap();
    Ok(())
}

fn main() {
    let start = Instant::now();
    channels();
    locks();
    panics();
    files().unwrap();
    if std::env::args().any(|a| a == "sockets") {
        sockets().unwrap();
    }
    thread::sleep(Duration::from_millis(20));
    println!("slept: {}", start.elapsed() >= Duration::from_millis(20));
    std::process::exit(3);
}
