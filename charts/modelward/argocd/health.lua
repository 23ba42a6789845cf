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
local held = {}
for _, condition in ipairs(status.conditions) do
  if condition.status == "True" then held[condition.type] = condition end
  if condition.type == "Ready" then held.said = condition end
end
local function graded(grade, condition)
  local what = status.phase or status.state or condition.reason or "Unknown"
  return {status = grade, message = what .. ": " .. (condition.message or "")}
end
if held.Stalled ~= nil then return graded("Degraded", held.Stalled) end
if held.Suspended ~= nil then return graded("Suspended", held.Suspended) end
if held.Paused ~= nil then return graded("Suspended", held.said or held.Paused) end
if held.said ~= nil and held.said.reason == "Suspended" then return graded("Suspended", held.said) end
if held.Reconciling ~= nil then return graded("Progressing", held.Reconciling) end
if held.Ready ~= nil then return graded("Healthy", held.Ready) end
-- A version that has made way for another one is as it should be.
if status.phase == "Retired" then return graded("Healthy", held.said or {}) end
return graded("Progressing", held.said or {})
