-- Argo CD's health of ModelVersions, TrainingJobs, DriftMonitors and ScoreBatches: docs/gitops.md says where it goes.
local status, metadata = obj.status, obj.metadata or {}
if metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "Being deleted"}
end
if status == nil or status.conditions == nil then
  return {status = "Progressing", message = "Waiting for the operator"}
end
if status.observedGeneration ~= nil and metadata.generation ~= nil and status.observedGeneration < metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator to see the change"}
end
local active, ready = {}, nil
for _, condition in ipairs(status.conditions) do
  if condition.status == "True" then active[condition.type] = condition end
  if condition.type == "Ready" then ready = condition end
end
local function health(grade, condition)
  local state = status.phase or status.state or condition.reason or "Unknown"
  return {status = grade, message = state .. ": " .. (condition.message or "")}
end
if active.Stalled ~= nil then return health("Degraded", active.Stalled) end
if active.Suspended ~= nil then return health("Suspended", active.Suspended) end
if active.Paused ~= nil then return health("Suspended", ready or active.Paused) end
if ready ~= nil and ready.reason == "Suspended" then return health("Suspended", ready) end
if active.Reconciling ~= nil then return health("Progressing", active.Reconciling) end
if active.Ready ~= nil then return health("Healthy", active.Ready) end
-- A retired version is in its final state.
if status.phase == "Retired" then return health("Healthy", ready or {}) end
return health("Progressing", ready or {})
