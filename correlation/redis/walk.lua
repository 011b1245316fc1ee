-- Walks the graph of causes for a while, and says what is left to do.
--
-- ARGV: "up" or "down"; how many steps; how many nodes; then the ids to begin
-- with, each once. Nodes are taken in a queue, breadth first: those ids, then
-- each other where it is met first. Returns three values:
--
--   "up":   a line for each node that was taken: its parents with commas between,
--           with a "=" before each that is in the queue already, or "-" if the
--           event is not known. So the reader knows the queue, too.
--   "down": a line for each node of the queue: its id.
--   the ids to go on with, each on a line, and how many steps are left for them.
--
-- Each call is bounded by the number of nodes, because nobody else is served
-- while it runs. For the same reason a value in the usual form with one parent
-- is not parsed but cut.
local forward, reverse = 'bloodbank:correlation:forward:', 'bloodbank:correlation:reverse:'
local steps, budget = tonumber(ARGV[2]), tonumber(ARGV[3])
local call, sub, match, gmatch, concat = redis.pcall, string.sub, string.match, string.gmatch, table.concat
local usual = '{"parent_event_ids":["'

local queue, n, at, seen = {}, 0, 1, {}
for i = 4, #ARGV do
  n = n + 1
  queue[n], seen[ARGV[i]] = ARGV[i], true
end
local last = n -- of the level that is being taken
local out = queue

-- allow lets a reply pass that says that a key holds something else, and ends the
-- script with any other error.
local function allow(reply)
  if reply.err and not match(reply.err, 'WRONGTYPE') then error(reply.err, 0) end
end

-- meet queues an id that is new, and returns how to say it.
local function meet(id)
  if seen[id] then return '=' .. id end
  seen[id], n = true, n + 1
  queue[n] = id
  return id
end

-- several meets the parents within a value of any form.
local function several(value)
  local ids, list = {}, match(value, '^{%s*"parent_event_ids"%s*:%s*%[([^%]]*)%]')
  if list then
    for id in gmatch(list, '"([%x%-]+)"') do ids[#ids + 1] = meet(id) end
    return concat(ids, ',')
  end
  local ok, object = pcall(cjson.decode, value)
  list = ok and type(object) == 'table' and object.parent_event_ids
  if type(list) == 'table' then
    for _, id in ipairs(list) do
      if type(id) == 'string' and match(id, '^[%x%-]+$') then ids[#ids + 1] = meet(id) end
    end
  end
  return concat(ids, ',')
end

if ARGV[1] == 'up' then
  out = {}
  while at <= n and at <= budget and steps > 0 do
    local value = call('GET', forward .. queue[at])
    if type(value) ~= 'string' then
      if value then allow(value) end
      value = '-'
    elseif sub(value, 59, 60) == '"]' and sub(value, 1, 22) == usual then
      value = sub(value, 23, 58)
      if seen[value] then
        value = '=' .. value
      else
        seen[value], n = true, n + 1
        queue[n] = value
      end
    else
      value = several(value)
    end
    out[at] = value
    at = at + 1
    if at > last then steps, last = steps - 1, n end
  end
else
  -- The set may hold children that have expired, or were written anew with other
  -- parents: who reads the answer leaves out what does not name its parent. It
  -- pays for taking a node, and for its children.
  budget = 2 * budget
  local most = tostring(budget + 1) -- a number would be written anew for each call
  while at <= n and budget > 0 and steps > 0 do
    local children = call('SRANDMEMBER', reverse .. queue[at], most)
    if children.err then allow(children) end
    local count = #children
    if count > budget then break end
    budget = budget - 1 - count
    for i = 1, count do
      local id = children[i]
      if not seen[id] and #id == 36 then
        seen[id], n = true, n + 1
        queue[n] = id
      end
    end
    at = at + 1
    if at > last then steps, last = steps - 1, n end
  end
end
return {concat(out, '\n'), concat(queue, '\n', at, n), steps}
