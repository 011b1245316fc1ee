-- Walks the graph of causes for a while, and says what is left to do.
--
-- ARGV: "up" or "down"; how many steps; how many nodes; then the ids to begin
-- with, each once. Returns three values: for "up" two lines for each node, its id
-- and its parents with commas between, or "-" if the event is not known, and for
-- "down" only its id; the ids to go on with, each on a line; and 1 if all the
-- steps were done.
--
-- Each call is bounded by the number of nodes, because nobody else is served
-- while it runs. For the same reason a value in the usual form with one parent
-- is not parsed but cut.
local forward, reverse = 'bloodbank:correlation:forward:', 'bloodbank:correlation:reverse:'
local steps, budget = tonumber(ARGV[2]), tonumber(ARGV[3])
local call, sub, match, gmatch, concat = redis.pcall, string.sub, string.match, string.gmatch, table.concat
local usual = '{"parent_event_ids":["'

-- several returns the parents within a value of any form, with commas between.
local function several(value)
  local ids, list = {}, match(value, '^{%s*"parent_event_ids"%s*:%s*%[([^%]]*)%]')
  if list then
    for id in gmatch(list, '"([%x%-]+)"') do ids[#ids + 1] = id end
    return concat(ids, ',')
  end
  local ok, object = pcall(cjson.decode, value)
  list = ok and type(object) == 'table' and object.parent_event_ids
  if type(list) == 'table' then
    for _, id in ipairs(list) do
      if type(id) == 'string' and match(id, '^[%x%-]+$') then ids[#ids + 1] = id end
    end
  end
  return concat(ids, ',')
end

local queue, n, at, seen, out, o = {}, 0, 1, {}, {}, 0
for i = 4, #ARGV do
  n = n + 1
  queue[n], seen[ARGV[i]] = ARGV[i], true
end
local last = n -- of the level that is being taken

-- allow lets a reply pass that says that a key holds something else, and ends the
-- script with any other error.
local function allow(reply)
  if reply.err and not match(reply.err, 'WRONGTYPE') then error(reply.err, 0) end
end

local function meet(id)
  if not seen[id] then
    seen[id], n = true, n + 1
    queue[n] = id
  end
end

-- causes takes the next of the queue.
local function causes()
  local id = queue[at]
  at, budget = at + 1, budget - 1
  local value = call('GET', forward .. id)
  if type(value) ~= 'string' then
    if value then allow(value) end
    value = '-'
  elseif sub(value, 59, 60) == '"]' and sub(value, 1, 22) == usual then
    value = sub(value, 23, 58)
    meet(value)
  else
    value = several(value)
    for parent in gmatch(value, '[^,]+') do meet(parent) end
  end
  out[o + 1], out[o + 2], o = id, value, o + 2
end

-- effects takes the next of the queue. The set may hold children that have
-- expired, or were written anew with other parents: who reads the answer leaves
-- out what does not name its parent.
local most = tostring(budget + 1) -- a number would be written anew for each call
local function effects()
  local children = call('SRANDMEMBER', reverse .. queue[at], most)
  if children.err then allow(children) end
  if #children > budget then
    budget = 0
    return
  end
  at, budget = at + 1, budget - 1 - #children
  for i = 1, #children do
    if #children[i] == 36 then meet(children[i]) end
  end
end

local down = ARGV[1] == 'down'
local take = down and effects or causes
while at <= n and steps > 0 and budget > 0 do
  take()
  if at > last then steps, last = steps - 1, n end
end
return {concat(down and queue or out, '\n'), concat(queue, '\n', at, n), (at > n or steps <= 0) and 1 or 0}
