"""What stands for the real thing on one machine: engine, kubelet (pods as processes), API server, KEDA.

They know no role of Hearth's; each says what it leaves out.
"""
