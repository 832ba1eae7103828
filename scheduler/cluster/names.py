"""Every name that this product puts on, or reads from, objects of a Kubernetes cluster; nothing else spells them.

Three parties meet here and nowhere else: the ML engineer, who writes the *asked* annotations; the controller, who
writes the *kept* ones and the budgets of nodes; the agent of a node, who reads its own NodePowerBudget alone and writes
that object's status. Whatever the controller knows of a job stands in the job's annotations: after a crash nothing
else is needed. No finalizers are used, so that no object waits for this product to be deleted.
"""

from __future__ import annotations

GROUP = "eco-orchestrator.io"
VERSION = "v1alpha1"
FIELD_MANAGER = "eco-controller"  # of every write; the agent's is "eco-agent"
AGENT_FIELD_MANAGER = "eco-agent"
LEASE = "eco-controller"  # coordination.k8s.io/v1, in the controller's namespace

# Custom resources (apps/deploy/crds).
ENERGY_POLICIES = "energypolicies"  # namespaced; kind EnergyPolicy
NODE_POWER_BUDGETS = "nodepowerbudgets"  # cluster-scoped; kind NodePowerBudget, named as its node

# Labels -----------------------------------------------------------------------------------------------------------
MANAGED = f"{GROUP}/managed"  # "true": the owner asks for this product; nothing without it is touched
JOB_LABEL = f"{GROUP}/job"  # on pods, where a kind's own controller sets no usable label: the name of their job

# Scheduling gate of bare pods, set when they are created and removed once.
GATE = f"{GROUP}/green-window"

# Asked: annotations written by the owner of a job ------------------------------------------------------------------
POLICY = f"{GROUP}/policy"  # name of an EnergyPolicy in the job's namespace
DEADLINE = f"{GROUP}/deadline"  # RFC 3339, or a duration after submission: "12h"
MAX_DELAY = f"{GROUP}/max-delay"  # duration
DURATION = f"{GROUP}/estimated-duration"  # run time of the whole gang at full power
STEPS = f"{GROUP}/total-steps"  # training steps of the whole job: the receipt's functional unit
CHECKPOINT = f"{GROUP}/checkpoint"  # "sigterm" or "periodic"; without it a job that runs is never suspended
CHECKPOINT_TIME = f"{GROUP}/checkpoint-time"  # duration of writing one
CHECKPOINT_INTERVAL = f"{GROUP}/checkpoint-interval"  # duration, with "periodic"
RESTART_TIME = f"{GROUP}/restart-time"  # duration from pod start to the first new step
RECEIPT_PATH = f"{GROUP}/receipt-path"  # a file below the controller's receipts folder, beside the model weights
CARBON_BUDGET_KG = f"{GROUP}/carbon-budget-kg"
WORK_CLASS = f"{GROUP}/work-class"  # "compute_bound" or "memory_bound", where the owner knows it

# Kept: annotations written by the controller ----------------------------------------------------------------------
SUSPENDED_BY = f"{GROUP}/suspended-by"  # who set suspend; only what carries it is resumed
REASON = f"{GROUP}/reason"  # of the last pause, start or cap, in words
PLAN = f"{GROUP}/plan-id"
GPU_CAP_W = f"{GROUP}/gpu-cap-watts"  # power limit of each GPU of the job, in W; written by a user it stands
LEDGER = f"{GROUP}/ledger"  # JSON: all that the controller remembers of the job
CONDITIONS = f"{GROUP}/conditions"  # JSON list in the form of metav1.Condition
RECEIPT = f"{GROUP}/receipt"  # JSON, when the job has ended

# On pods, read by the agent of their node where it has no NodePowerBudget ------------------------------------------
BUDGET_EXPIRES_AT = f"{GROUP}/budget-expires-at"  # RFC 3339; nothing is limited after it
SM_CLOCK_MHZ = f"{GROUP}/sm-clock-mhz"
STALL_CLOCK_MHZ = f"{GROUP}/stall-clock-mhz"

# Conditions -------------------------------------------------------------------------------------------------------
CONDITION_USER_OVERRIDE = "EcoUserOverride"  # somebody changed suspend or the cap by hand: it stands
CONDITION_NOT_MANAGED = "EcoNotManaged"  # the job runs as plain Kubernetes would, and why
CONDITION_OVER_BUDGET = "EcoCarbonBudget"  # the projection exceeds the carbon budget
CONDITION_PLANNED = "EcoPlanned"  # True: a plan stands, and which

# Reasons of Events (CamelCase, as kubectl shows them) --------------------------------------------------------------
EVENT_HELD = "EcoHeld"  # suspended on first sight
EVENT_PROFILING = "EcoProfiling"
EVENT_PROFILED = "EcoProfiled"
EVENT_STARTED = "EcoStarted"
EVENT_SUSPENDED = "EcoSuspended"
EVENT_RESUMED = "EcoResumed"
EVENT_CAPPED = "EcoCapped"
EVENT_RELEASED = "EcoReleased"  # runs as plain Kubernetes would
EVENT_BAD_INPUT = "EcoBadInput"
EVENT_IMPOSSIBLE = "EcoDeadlineImpossible"
EVENT_NO_CHECKPOINT = "EcoNoCheckpoint"
EVENT_NO_CURVE = "EcoNoCurve"
EVENT_USER_OVERRIDE = "EcoUserOverride"
EVENT_OVER_BUDGET = "EcoCarbonBudget"
EVENT_STALE_SIGNAL = "EcoStaleSignal"
EVENT_RECEIPT = "EcoReceipt"

# On nodes ---------------------------------------------------------------------------------------------------------
PARKING = f"{GROUP}/parking"  # label "allowed": the node may be parked
CORDONED_BY = f"{GROUP}/cordoned-by"  # annotation: who made it unschedulable; no user's cordon carries it
GPU_PRODUCT = "nvidia.com/gpu.product"  # label by NVIDIA's GPU feature discovery
GPU = "nvidia.com/gpu"  # extended resource

# Foreign names that are read --------------------------------------------------------------------------------------
KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
HOSTNAME = "kubernetes.io/hostname"
