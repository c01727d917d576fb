-- SPDX-License-Identifier: Apache-2.0
local count, lines = {}, 0
for line in io.lines("words") do
	lines = lines + 1
	for word in line:gmatch("%a+") do count[word] = (count[word] or 0) + 1 end
end
local words = {}
for word in pairs(count) do words[#words + 1] = word end
table.sort(words)
local out <close> = assert(io.open("counts", "w"))
for _, word in ipairs(words) do out:write(string.format("%-10s %d\n", word, count[word])) end
print(lines, #words)
local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i * i) end return "coroutine done" end)
print(co(), co(), co(), co())
print(pcall(error, {code = 1}) and "" or "caught", math.type(3), math.type(3.0), 7 // 2, 2^53, 1 << 62)
print(string.pack("<I4", 0x61626364), ("x"):rep(5, "-"), #string.format("%q", "a\nb"))
print(os.date("!%F", 1e9), os.getenv("TZ"), select("#", nil, nil))
print(utf8.len("äöü"), io.open("nothing"))
local t = setmetatable({}, {__index = function(_, k) return k .. "!" end, __gc = function() end})
print(t.field, collectgarbage("count") > 0)
local garbage = {}
for i = 1, 200000 do garbage[i % 1000] = {i} end
collectgarbage()
print(os.rename("counts", "renamed"), os.remove("nothing"))
