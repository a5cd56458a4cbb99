"""Attribution methods with Captum's interface and faster routes."""

from captum_xdnn.attr.integrated_gradients import XIntegratedGradients
from captum_xdnn.attr.internal_influence import XInternalInfluence
from captum_xdnn.attr.layer_conductance import XLayerConductance
from captum_xdnn.attr.layer_integrated_gradients import XLayerIntegratedGradients
from captum_xdnn.attr.neuron_conductance import XNeuronConductance
from captum_xdnn.attr.neuron_integrated_gradients import XNeuronIntegratedGradients

__all__ = [
    "XIntegratedGradients",
    "XInternalInfluence",
    "XLayerConductance",
    "XLayerIntegratedGradients",
    "XNeuronConductance",
    "XNeuronIntegratedGradients",
]
