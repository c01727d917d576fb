// SPDX-License-Identifier: Apache-2.0
// Exceptions through frames and threads, the containers, streams, futures, locks.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace
{

struct Counted {
	static std::atomic<int> alive;
	Counted() { alive++; }
	Counted(const Counted &) { alive++; }
	~Counted() { alive--; }
};
std::atomic<int> Counted::alive;

int descend(int depth)
{
	Counted here;
	if (depth == 0)
		throw std::out_of_range("bottom");
	return descend(depth - 1) + 1;
}

void exceptions()
{
	for (int depth : {0, 1, 100, 1000}) {
		try {
			descend(depth);
		} catch (const std::logic_error &error) {
			std::cout << "caught " << error.what() << " from " << depth << ", "
				  << Counted::alive << " alive\n";
		}
	}
	try {
		try {
			std::stoi("nonsense");
		} catch (...) {
			std::throw_with_nested(std::runtime_error("outer"));
		}
	} catch (const std::exception &outer) {
		try {
			std::rethrow_if_nested(outer);
		} catch (const std::exception &inner) {
			std::cout << outer.what() << " around " << inner.what() << '\n';
		}
	}
	try {
		std::vector<int> none;
		none.at(1) = 2;
	} catch (const std::exception &) {
		std::cout << "no such element\n";
	}
}

void threads()
{
	std::mutex lock;
	std::condition_variable changed;
	long turn = 0, sum = 0;
	std::vector<std::thread> players;
	for (long me = 0; me < 4; me++)
		players.emplace_back([&, me] {
			for (int round = 0; round < 200; round++) {
				std::unique_lock<std::mutex> held(lock);
				changed.wait(held, [&] { return turn % 4 == me; });
				sum = sum * 3 % 1000003 + me;
				turn++;
				changed.notify_all();
			}
		});
	for (auto &player : players)
		player.join();
	std::cout << turn << " turns, " << sum << '\n';

	std::vector<std::future<double>> parts;
	for (int part = 0; part < 8; part++)
		parts.push_back(std::async(std::launch::async, [part] {
			double value = 0;
			for (int i = 1; i < 20000; i++)
				value += 1.0 / (i + part * 20000.0);
			if (part == 7)
				throw std::runtime_error("from a thread");
			return value;
		}));
	for (auto &part : parts) {
		try {
			std::cout << part.get() << ' ';
		} catch (const std::exception &error) {
			std::cout << error.what() << '\n';
		}
	}
	thread_local int local = 1;
	std::thread([] { local = 2; }).join();
	std::cout << "thread-local " << local << '\n';
	auto before = std::chrono::steady_clock::now();
	std::this_thread::sleep_for(std::chrono::milliseconds(20));
	std::cout << (std::chrono::steady_clock::now() - before >= std::chrono::milliseconds(20))
		  << " slept\n";
}

void library()
{
	std::map<std::string, std::vector<int>> index;
	std::istringstream text("the quick brown fox jumps over the lazy dog and the cat");
	int position = 0;
	for (std::string word; text >> word;)
		index[word].push_back(position++);
	{
		std::ofstream out("index.txt");
		for (const auto &[word, places] : index) {
			out << word << ':';
			for (int place : places)
				out << ' ' << place;
			out << '\n';
		}
	}
	std::ifstream in("index.txt");
	std::regex pattern("(\\w+): (\\d+) (\\d+).*");
	for (std::string line; std::getline(in, line);) {
		std::smatch match;
		if (std::regex_match(line, match, pattern))
			std::cout << match[1] << " first at " << match[2] << '\n';
	}
	auto shared = std::make_shared<std::vector<int>>(1000);
	std::iota(shared->begin(), shared->end(), 0);
	std::cout << std::accumulate(shared->begin(), shared->end(), 0L) << '\n';
}

} // namespace

int main(int argc, char **argv)
{
	exceptions();
	threads();
	library();
	if (argc > 1 && std::string(argv[1]) == "uncaught")
		throw std::runtime_error("never caught");
	return 0;
}
